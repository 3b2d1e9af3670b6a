"""Sharpness of a network while a user's own loop trains it, at a share of the time that the user sets.

motion (what step an optimiser takes), budget (when to look), tracker (the loop's side) -> run folder -> pages.
"""
