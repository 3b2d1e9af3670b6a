"""Computation of the chapters of an interpretation."""
