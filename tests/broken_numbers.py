"""Data and settings on which numbers break, for each study: what they are called, and the config of a small run."""

from dataclasses import replace

import numpy as np
import torch
from easy_atlas import SMALL, easy_atlas

from netassay import study


def edge(folder, x, y, **config):
    np.savez(folder / "data.npz", x=x, y=y)
    small = {"examples": len(x), "width": 4, "depth": 1, "steps": 3, "curvature_every": 1, "top": 2, "dtype": "float64"}
    return study.find("edge").config(data="arrays", path=str(folder / "data.npz"), **{**small, **config})


def step_size(folder, x, y, **config):
    np.savez(folder / "data.npz", x=x, y=y)
    small = {"examples": len(x), "width": 4, "depth": 1, "steps": 20, "flow_steps": 20, "resolution": 2.0, "seeds": 1}
    return study.find("edge-stepsize").config(data="arrays", path=str(folder / "data.npz"), **{**small, **config})


def capacity(folder, text, **config):
    (folder / "corpus.txt").write_text(text)
    small = {"corpus": str(folder / "corpus.txt"), "width": 4, "try_steps": 5, "document": "line"}
    return study.find("capacity").config(**{**small, **config})


def memorisation(folder, text, **config):
    (folder / "corpus.txt").write_text(text)
    return study.find("memorisation").config(corpus=str(folder / "corpus.txt"), document="line", **config)


def aitac(folder, change, **config):
    atlas = easy_atlas(n=90)
    (change(atlas) if change else atlas).save(folder / "atlas")
    return study.find("aitac").config(atlas=str(folder / "atlas"), **{**SMALL, "epochs": 1, **config})


def _heights(values):
    return lambda atlas: replace(atlas, heights=values(atlas.heights))


def _one_cell_type(atlas):
    return replace(atlas, heights=atlas.heights[:, :1], cell_types=("a",), lineages=("x",))


DRAW = np.random.default_rng(0)
X, CLASSES = DRAW.standard_normal((8, 3)), np.arange(8) % 2
TARGETS = DRAW.standard_normal((8, 1))

CASES = {
    "edge": {
        "infinite step": lambda folder: edge(folder, X, CLASSES, step_size=1e300),
        "diverging": lambda folder: edge(folder, X, TARGETS, loss="mse", step_size=1e4, steps=200, curvature_every=50),
        "constant data": lambda folder: edge(folder, np.ones((8, 3)), CLASSES),
        "zero gradients": lambda folder: edge(folder, np.zeros((8, 3)), np.zeros((8, 1)), loss="mse", bias=False),
        "one example": lambda folder: edge(folder, X[:1], CLASSES[:1]),
        "one class": lambda folder: edge(folder, X, CLASSES * 0),
        "one output": lambda folder: edge(folder, X, TARGETS, loss="mse"),
        "NaN in data": lambda folder: edge(folder, np.where(X > 1, np.nan, X), CLASSES),
        "infinity in data": lambda folder: edge(folder, np.where(X > 1, np.inf, X), CLASSES),
        "numbers beyond float32": lambda folder: edge(folder, X * 1e200, TARGETS, loss="mse", dtype="float32"),
    },
    "edge-stepsize": {
        "constant data": lambda folder: step_size(folder, np.ones((8, 3)), CLASSES),
        "zero gradients": lambda folder: step_size(folder, np.zeros((8, 3)), CLASSES),
        "one example": lambda folder: step_size(folder, X[:1], CLASSES[:1]),
        "one class": lambda folder: step_size(folder, X, CLASSES * 0),
        "NaN in data": lambda folder: step_size(folder, np.where(X > 1, np.nan, X), CLASSES),
    },
    "capacity": {
        "one document": lambda folder: capacity(folder, "a b c d\n"),
        "one token": lambda folder: capacity(folder, "a a a\na a a a\n"),
        "nothing uncertain": lambda folder: capacity(folder, "a b c\nd e f\n"),
        "single tokens": lambda folder: capacity(folder, "a\nb\n"),
        "infinite step": lambda folder: capacity(folder, "a b\na c\na b\n", step_size=1e300),
        "diverging": lambda folder: capacity(folder, "a b\na c\na b\n", step_size=1e30, solver="paper", try_steps=20),
    },
    "memorisation": {
        "one document": lambda folder: memorisation(folder, "a b c d\n"),
        "one token": lambda folder: memorisation(folder, "a a a\na a a a\n"),
        "single tokens": lambda folder: memorisation(folder, "a\nb\n"),
    },
    "aitac": {
        "constant heights": lambda folder: aitac(folder, _heights(torch.ones_like)),
        "zero heights": lambda folder: aitac(folder, _heights(torch.zeros_like), loss="pearson"),
        "one cell type": lambda folder: aitac(folder, _one_cell_type),
        "NaN in heights": lambda folder: aitac(folder, _heights(lambda heights: heights.log())),
        "infinite heights": lambda folder: aitac(folder, _heights(lambda heights: heights * torch.inf)),
        "infinite step": lambda folder: aitac(folder, None, learning_rate=1e30),
        "huge heights": lambda folder: aitac(folder, _heights(lambda heights: heights * 1e38)),
    },
}
