"""How far a trained language model is from the entropy bound of a corpus, and how much of the corpus it holds.

model: checkpoints as causal modules. material: the corpus as fed to the model. examination: losses batch by batch
and their evaluation. assay -> findings -> pages.
"""
