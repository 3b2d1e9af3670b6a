"""Works that the studies rest on, as pages list them and as BibTeX."""

from __future__ import annotations

from netassay.reporting.section import Reference

MADDEN = Reference(
    "madden2024",
    "Madden, Liam and Fox, Curtis and Thrampoulidis, Christos",
    "Next-token Prediction Capacity: General Upper Bounds and a Lower Bound for Transformers",
    2024,
    "arXiv preprint",
    arxiv="2405.13718",
)
MORRIS = Reference(
    "morris2025",
    "Morris, John X. and Sitawarin, Chawin and Guo, Chuan and Kokhlikyan, Narine and Suh, G. Edward and "
    "Rush, Alexander M. and Chaudhuri, Kamalika and Mahloujifar, Saeed",
    "How much do language models memorize?",
    2025,
    "arXiv preprint",
    arxiv="2505.24832",
)
FOX = Reference(
    "fox2023",
    "Fox, Curtis",
    "A Study of the Edge of Stability in Deep Learning",
    2023,
    "MSc thesis, University of British Columbia",
)
COHEN = Reference(
    "cohen2021",
    "Cohen, Jeremy M. and Kaur, Simran and Li, Yuanzhi and Kolter, J. Zico and Talwalkar, Ameet",
    "Gradient Descent on Neural Networks Typically Occurs at the Edge of Stability",
    2021,
    "International Conference on Learning Representations",
    arxiv="2103.00065",
)
KALRA = Reference(
    "kalra2026",
    "Kalra, Dayal Singh and others",
    "A Scalable Measure of Loss Landscape Curvature for Analyzing the Training Dynamics of LLMs",
    2026,
    "arXiv preprint",
    arxiv="2601.16979",
)
MASLOVA = Reference(
    "maslova2020",
    "Maslova, Alexandra and Ramirez, Ricardo N. and Ma, Ke and Schmutz, Hugo and Wang, Chendi and Fox, Curtis and "
    "Ng, Bernard and Benoist, Christophe and Mostafavi, Sara and {Immunological Genome Project}",
    "Deep learning of immune cell differentiation",
    2020,
    "Proceedings of the National Academy of Sciences 117(41)",
    doi="10.1073/pnas.2011795117",
)
GUPTA = Reference(
    "gupta2007",
    "Gupta, Shobhit and Stamatoyannopoulos, John A. and Bailey, Timothy L. and Noble, William Stafford",
    "Quantifying similarity between motifs",
    2007,
    "Genome Biology 8, R24",
    doi="10.1186/gb-2007-8-2-r24",
)
