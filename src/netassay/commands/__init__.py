"""Tasks in one call, from Python or at the command line: from files and ids of runs to an answer."""
