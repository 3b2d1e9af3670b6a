"""What a user asks for in one call, from Python or at the command line: files and ids of runs in, an answer out."""
