"""What one epoch of a run draws: the order of the data, the partners, lam; whole epochs at once, on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..annealing import Schedule
from ..cutmix import cutmix_boxes
from ..mixing import draw_lam, draw_partner
from .config import IMAGE_SHAPES, RunConfig
from .datasets import Streams

__all__ = ["EpochDraws", "draw_epoch", "draw_partners", "stack_draws"]


@dataclass(frozen=True)
class EpochDraws:
    """One epoch of one run, or of R runs side by side (then B stands for R B).

    Attributes:
        position: Which of the run's training points stands where, shape [steps, B].
        partner: Place of each partner within its batch, shape [steps, B].
        lam: Weight of each example, its partner having the rest, shape [steps, B].
        label_lam: The same for its label; equal to `lam` unless labels are mixed otherwise, shape [steps, B].
        layer: Hidden state that is mixed, 0 being the input; of each run, shape [steps, R].
        boxes: For CutMix: first and last row, first and last column of the partner's box, each last one excluded,
            shape [steps, B, 4].
        moves: For augmentation: whether to flip, and the shift in rows and columns, shape [steps, B, 3].
    """

    position: NDArray[np.int64]
    partner: NDArray[np.int64]
    lam: NDArray[np.float64]
    label_lam: NDArray[np.float64]
    layer: NDArray[np.int64]
    boxes: NDArray[np.int64] | None = None
    moves: NDArray[np.int64] | None = None

    def lam_at(self, state: int) -> NDArray[np.float64]:
        """Return the weights with which a hidden state is mixed: lam where it is the one drawn, else 1.

        Args:
            state: Number of the state, 0 being the input.

        Returns:
            Weights, shape [steps, B].
        """
        drawn = self.layer == state
        if drawn.all():
            return self.lam
        return np.where(np.repeat(drawn, self.lam.shape[1] // self.layer.shape[1], axis=1), self.lam, 1.0)


def draw_partners(rng: np.random.Generator, steps: int, n: int, partner: str) -> NDArray[np.int64]:
    """Draw the partners of many batches at once, by the law of `mixing.draw_partner`.

    Args:
        rng: Source of randomness.
        steps: Number of batches.
        n: Batch size.
        partner: One of `mixing.PARTNERS`.

    Returns:
        Places within each batch, shape [steps, n].

    Raises:
        ValueError: If n examples cannot meet the law.
    """
    if partner == "independent":
        return rng.integers(0, n, (steps, n))
    if partner in ("flip", "roll"):
        return np.tile(draw_partner(rng, n, partner), (steps, 1))
    if partner == "derangement" and n < 2:
        draw_partner(rng, n, partner)  # raises
    rows = np.tile(np.arange(n), (steps, 1))
    index = rng.permuted(rows, axis=1)
    while partner == "derangement":
        bad = np.any(index == np.arange(n), axis=1)
        if not bad.any():
            break
        index[bad] = rng.permuted(rows[bad], axis=1)
    return index


def _draw_lams(config: RunConfig, rng: np.random.Generator, times: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Draw lam for the batches at the given times (in epochs), shape [steps, n]."""
    steps = len(times)
    if not isinstance(config.alpha, Schedule):
        if config.lam_per == "batch":  # one weight per batch: a "sample" of `steps` weights, each spread
            lam = draw_lam(rng, steps, config.alpha, "sample", config.lam_max)
            return np.broadcast_to(lam[:, None], (steps, n))
        if config.lam_per == "sample":
            return draw_lam(rng, steps * n, config.alpha, "sample", config.lam_max).reshape(steps, n)
        alphas, mixed = np.full(steps, config.alpha), np.ones(steps, dtype=bool)
    else:
        alphas = np.asarray(config.alpha.alpha(times))
        mixed = rng.random(steps) < np.asarray(config.alpha.probability(times))
    lam = np.stack([draw_lam(rng, n, alpha, config.lam_per, config.lam_max) for alpha in alphas])
    return np.where(mixed[:, None], lam, 1.0)


def _draw_boxes(
    config: RunConfig, rng: np.random.Generator, lam: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Draw CutMix boxes [steps, n, 4] for weights [steps, n], and return with them the area that is left."""
    steps, n = lam.shape
    _, height, width = IMAGE_SHAPES[config.dataset]
    drawn = {"batch": 1, "pair": n // 2, "sample": n}[config.lam_per]  # who shares lam shares the box
    boxes = cutmix_boxes(rng, 1 - lam[:, :drawn].ravel(), height, width).reshape(steps, drawn, 4)
    if config.lam_per == "pair":
        boxes = np.concatenate([boxes, boxes[:, ::-1]], axis=1)
    boxes = np.broadcast_to(boxes, (steps, n, 4))
    top, bottom, left, right = np.moveaxis(boxes, 2, 0)
    return boxes, 1 - (bottom - top) * (right - left) / (height * width)


def _draw_moves(config: RunConfig, rng: np.random.Generator, steps: int, n: int) -> NDArray[np.int64]:
    """Draw flips (0 or 1) and shifts by up to an eighth of the side, shape [steps, n, 3]."""
    reach = max(1, IMAGE_SHAPES[config.dataset][1] // 8)
    flips, shifts = rng.integers(0, 2, (steps, n, 1)), rng.integers(-reach, reach + 1, (steps, n, 2))
    return np.concatenate([flips, shifts], axis=2)


def draw_epoch(config: RunConfig, streams: Streams, num_train: int, batch_size: int, epoch: int) -> EpochDraws:
    """Draw one epoch of one run, each kind of choice from its own stream.

    Args:
        config: The run.
        streams: Its generators, moved on by the draws.
        num_train: Its number of training points.
        batch_size: Examples per step, at most `num_train`.
        epoch: Number of the epoch, from 0; schedules of alpha read it.

    Returns:
        The draws. Without mixing every example is its own partner, with weight 1.
    """
    steps = num_train // batch_size
    order = streams.order.permutation(num_train)[: steps * batch_size].reshape(steps, batch_size)
    layer = np.zeros((steps, 1), dtype=np.int64)
    moves = _draw_moves(config, streams.moves, steps, batch_size) if config.augment != "none" else None
    if config.method == "erm":
        own, ones = np.broadcast_to(np.arange(batch_size), order.shape), np.ones(order.shape)
        return EpochDraws(order, own, ones, ones, layer, None, moves)
    partner = draw_partners(streams.mixing, steps, batch_size, config.partner)
    times = epoch + np.arange(steps) / steps
    lam = _draw_lams(config, streams.mixing, times, batch_size)
    boxes = None
    if config.method == "cutmix":
        boxes, lam = _draw_boxes(config, streams.mixing, lam)
    label_lam = lam
    if config.label_mixing == "hard":
        label_lam = (streams.labels.random(lam.shape) < lam).astype(float)
    elif config.label_mixing == "first":
        label_lam = np.ones(lam.shape)
    if config.method == "manifold":
        layer = streams.layers.choice(config.mix_layers, (steps, 1))
    return EpochDraws(order, partner, lam, label_lam, layer, boxes, moves)


def stack_draws(draws: Sequence[EpochDraws], num_train: int) -> EpochDraws:
    """Lay the draws of R runs side by side: run r takes places r B .. (r + 1) B - 1 and points r n .. (r + 1) n - 1.

    Args:
        draws: One per run.
        num_train: Number n of training points of each run.

    Returns:
        Draws of shape [steps, R B].
    """
    size = draws[0].partner.shape[1]
    return EpochDraws(
        np.concatenate([d.position + r * num_train for r, d in enumerate(draws)], axis=1),
        np.concatenate([d.partner + r * size for r, d in enumerate(draws)], axis=1),
        np.concatenate([d.lam for d in draws], axis=1),
        np.concatenate([d.label_lam for d in draws], axis=1),
        np.concatenate([d.layer for d in draws], axis=1),
        _beside([d.boxes for d in draws]),
        _beside([d.moves for d in draws]),
    )


def _beside(parts: Sequence[NDArray[np.int64] | None]) -> NDArray[np.int64] | None:
    """Lay arrays [steps, B, ...] side by side, where the runs have them."""
    present = [part for part in parts if part is not None]
    return np.concatenate(present, axis=1) if present else None
