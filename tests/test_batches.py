"""The buffered batches are those of mixing.blend, step by step and epoch by epoch."""

from __future__ import annotations

import numpy as np
import torch

from mixup_theory.experiments.batches import Batches
from mixup_theory.experiments.config import RunConfig
from mixup_theory.experiments.datasets import Streams
from mixup_theory.experiments.draws import draw_epoch, stack_draws
from mixup_theory.mixing import blend

RUNS, TOTAL, POINTS, SIZE, CLASSES = 3, 50, 24, 5, 4


def test_batches_are_the_blended_ones():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(TOTAL, 7))
    index = np.stack([rng.permutation(TOTAL)[:POINTS] for _ in range(RUNS)])
    labels = rng.integers(0, CLASSES, (RUNS, POINTS))
    batches = Batches(torch.tensor(x), torch.eye(CLASSES, dtype=torch.float64), index, labels, SIZE)
    configs = [
        RunConfig(),
        RunConfig(method="mixup", alpha=0.4, lam_per="sample", partner="independent"),
        RunConfig(method="mixup", alpha=2.0, label_mixing="hard", lam_per="sample"),
    ]
    streams = [Streams(seed) for seed in range(RUNS)]
    for epoch in range(2):
        draws = [draw_epoch(c, s, POINTS, SIZE, epoch) for c, s in zip(configs, streams, strict=True)]
        batches.start_epoch(stack_draws(draws, POINTS))
        for step in range(POINTS // SIZE):
            mixed_x, mixed_y = batches.mixed(step)
            for r in range(RUNS):
                names = ("position", "lam", "label_lam", "partner")
                position, lam, label_lam, partner = (getattr(draws[r], name)[step] for name in names)
                own_x, own_y = x[index[r][position]], np.eye(CLASSES)[labels[r][position]]
                np.testing.assert_allclose(mixed_x[r].numpy(), blend(own_x, lam, partner), rtol=1e-13, atol=1e-15)
                np.testing.assert_allclose(mixed_y[r].numpy(), blend(own_y, label_lam, partner), rtol=1e-13, atol=1e-15)
                if r == 0:
                    assert np.array_equal(mixed_x[r].numpy(), own_x)  # ERM is exact
