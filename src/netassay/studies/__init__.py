"""The studies, siblings that never import each other. A new one is a folder here and a word below."""

STUDIES = ("capacity", "edge", "aitac")
