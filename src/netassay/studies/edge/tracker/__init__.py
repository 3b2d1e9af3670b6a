"""Sharpness of a network while a user's own loop trains it, at a share of the time that the user sets.

motion (what step an optimiser takes), budget (when to look), forward_level (looks before a step), exact_level (looks
after it), tracker (the loop's side), and lightning, hugging_face, accelerate (others' loops) -> run folder -> pages.
"""
