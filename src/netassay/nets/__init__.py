"""Plain modules that any study may take: activations, initialisation, mlp."""
