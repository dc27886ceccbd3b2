r"""The averaging classifier on simulated Gaussians: a training set is drawn and averaged, test points are scored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .._checks import check_integer, check_interval
from ..averaging_classifier import mixup_average

__all__ = ["dimension", "simulate_averaging"]


def dimension(rho: float, num_train: int) -> int:
    r"""Dimension p at which the averaging classifier has a given ratio of true to plain logit.

    For :math:`\|\theta^*\|=\sigma=1`, :math:`\rho=1/(1+p/n)`, so :math:`p=n(1-\rho)/\rho`, rounded.

    Args:
        rho: The ratio, in (0, 1).
        num_train: Training points n, >= 2.

    Returns:
        p, at least 1.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory F.10.

    Example:
        >>> dimension(0.8, 2000)
        500
    """
    check_interval("rho", rho, 0, 1, closed="neither")
    return max(1, round(check_integer("num_train", num_train, 2) * (1 - rho) / rho))


def simulate_averaging(
    rho: float, alphas: Sequence[float], rng: np.random.Generator, *, num_train: int = 2000, num_test: int = 20000
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    r"""Draw one training set, average it with mixup for every alpha, and score one test set.

    :math:`x\mid y\sim N(y\theta^*,I_p)` with :math:`\|\theta^*\|=1` and p = `dimension(rho, num_train)`. The logits
    are those of the classes -1 and 1, :math:`\mp\hat\theta^\top x`; their difference is theory F.10's logit. Test
    points are drawn as scores :math:`\hat\theta^\top x\mid y\sim N(y\hat\theta^\top\theta^*,\|\hat\theta\|^2)`, which
    is exact given the training set.

    Assumptions: balanced classes, so that `num_train` is even.

    Args:
        rho: Ratio of the true to the plain logit for n, p large, in (0, 1).
        alphas: Beta concentrations in [0, inf]; all see the same training and test set.
        rng: Source of randomness; one call is one independent unit.
        num_train: Training points, even.
        num_test: Test points.

    Returns:
        Logits, shape [len(alphas), num_test, 2], and labels 0 and 1, shape [num_test].

    Raises:
        ValueError: If an argument is out of range, or `num_train` is odd.

    References:
        theory F.10; Zhang et al. 2022.

    Example:
        >>> logits, labels = simulate_averaging(0.5, [0.0, 1.0], np.random.default_rng(0), num_train=100, num_test=7)
        >>> logits.shape, bool(np.allclose(logits[1], logits[0] * 2 / 3))  # s(1) = 2/3
        ((2, 7, 2), True)
    """
    p = dimension(rho, num_train)
    if num_train % 2:
        raise ValueError(f"`num_train` must be even, for balanced classes, got {num_train}.")
    truth = np.full(p, 1 / np.sqrt(p))
    y = np.repeat([1.0, -1.0], num_train // 2)
    x = rng.standard_normal((num_train, p)) + y[:, None] * truth
    weights = mixup_average(x, y, np.asarray(alphas, dtype=float))
    labels = rng.integers(0, 2, check_integer("num_test", num_test, 1))
    # One draw for all alphas: for balanced data their weights are parallel, and so are their scores.
    noise = rng.standard_normal(num_test)
    score = np.outer(weights @ truth, 2 * labels - 1) + np.outer(np.linalg.norm(weights, axis=1), noise)
    return np.stack([-score, score], axis=2), labels
