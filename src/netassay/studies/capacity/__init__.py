"""How much a next-token predictor can memorise (Madden, Fox, Thrampoulidis 2024, arXiv 2405.13718).

contexts (prefixes, distributions, telescope): what there is to memorise and the loss that remains. bounds: how
many contexts any predictor of a size can and cannot hold. corpus_bounds: the same for one corpus.
The experiment: material (a run's corpus) -> targets -> trial (cross_entropy, soap; convex_trial, convex) -> trials
(widths) -> assay -> pages, fewest_pages.
"""
