"""Drawings of the chapters of an interpretation."""
