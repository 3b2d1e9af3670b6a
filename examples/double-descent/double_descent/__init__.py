"""Double descent of random-feature regression (Rahimi and Recht 2007; Belkin et al. 2019).

config -> assay -> run folder -> findings -> pages.
"""
