"""Plain modules that any study may take: mlp, decoder, averaging, and what they are made of."""
