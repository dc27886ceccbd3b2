r"""Bias and variance of a trained classifier over training sets, exact for the Brier score and the cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import check_array

__all__ = ["BiasVariance", "brier_bias_variance", "cross_entropy_bias_variance"]


@dataclass(frozen=True)
class BiasVariance:
    """The parts of an expected loss on a test set; they add up to `loss` exactly.

    Attributes:
        loss: Loss of one model, averaged over training sets and test examples.
        bias: Loss of the central prediction.
        variance: What one model loses against the central prediction.
        unbiased_bias: `bias` without the share of the variance that a finite number of models leaves in it.
        unbiased_variance: Variance with the divisor R - 1.
    """

    loss: float
    bias: float
    variance: float
    unbiased_bias: float
    unbiased_variance: float


def _check(log_probabilities: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return predictions [R, n, K] and labels [n] that fit together; R >= 2."""
    predictions = check_array("log_probabilities", log_probabilities, 3)
    labels = np.asarray(y)
    if predictions.shape[0] < 2:
        raise ValueError("`log_probabilities` must come from at least 2 training sets, got 1.")
    if labels.shape != predictions.shape[1:2] or labels.dtype.kind not in "iu":
        raise ValueError(f"`y` must be whole numbers of shape {predictions.shape[1:2]}, got {labels.shape}.")
    if labels.min() < 0 or labels.max() >= predictions.shape[2]:
        raise ValueError(f"`y` must be in 0..{predictions.shape[2] - 1}, got {labels.min()}..{labels.max()}.")
    if not np.allclose(np.exp(predictions).sum(axis=2), 1, atol=1e-4):
        raise ValueError("`log_probabilities` must be normalised over classes. Apply log_softmax to logits first.")
    return predictions, labels


def brier_bias_variance(log_probabilities: ArrayLike, y: ArrayLike) -> BiasVariance:
    r"""Decompose the Brier score :math:`E\lVert p-e_y\rVert^2=\lVert\bar p-e_y\rVert^2+E\lVert p-\bar p\rVert^2`.

    :math:`\bar p` is the mean prediction over R training sets. The bias of R models contains 1/R of the variance;
    `unbiased_bias` subtracts it, so that its expectation is that of infinitely many models.

    Assumptions: training sets are independent; labels are the truth (a noise term would be part of the bias).

    Args:
        log_probabilities: Log predicted probabilities, shape [R, n, K].
        y: Labels 0..K-1, shape [n].

    Returns:
        The decomposition, averaged over the n examples.

    Raises:
        ValueError: If shapes do not fit, R < 2, or rows do not sum to 1.

    References:
        Brier 1950; Geman, Bienenstock and Doursat 1992.

    Example:
        >>> two = np.log([[[0.9, 0.1]], [[0.7, 0.3]]])
        >>> parts = brier_bias_variance(two, np.array([0]))
        >>> round(parts.loss, 4), round(parts.bias, 4), round(parts.variance, 4)
        (0.1, 0.08, 0.02)
    """
    logs, labels = _check(log_probabilities, y)
    p = np.exp(logs)
    target = np.eye(p.shape[2])[labels]
    centre = p.mean(axis=0)
    loss = float(((p - target) ** 2).sum(axis=2).mean())
    bias = float(((centre - target) ** 2).sum(axis=1).mean())
    variance = float(((p - centre) ** 2).sum(axis=2).mean())
    unbiased = variance * len(p) / (len(p) - 1)
    return BiasVariance(loss, bias, variance, bias - unbiased / len(p), unbiased)


def cross_entropy_bias_variance(log_probabilities: ArrayLike, y: ArrayLike) -> BiasVariance:
    r"""Decompose the cross-entropy :math:`E\{-\ln p_y\}=-\ln\bar p_y+E\,KL(\bar p\,\Vert\,p)`.

    :math:`\bar p\propto\exp E\ln p` is the geometric mean, the centre that the Bregman form of the cross-entropy
    asks for. The variance is exact for the R models at hand; its small-R correction is that of a quadratic loss
    (exact to second order in the spread).

    Assumptions: as `brier_bias_variance`.

    Args:
        log_probabilities: Log predicted probabilities, shape [R, n, K].
        y: Labels 0..K-1, shape [n].

    Returns:
        The decomposition, averaged over the n examples, in nats.

    Raises:
        ValueError: If shapes do not fit, R < 2, or rows do not sum to 1.

    References:
        Heskes 1998; Pfau 2013.

    Example:
        >>> two = np.log([[[0.9, 0.1]], [[0.7, 0.3]]])
        >>> parts = cross_entropy_bias_variance(two, np.array([0]))
        >>> bool(np.isclose(parts.loss, parts.bias + parts.variance))
        True
    """
    logs, labels = _check(log_probabilities, y)
    rows = np.arange(len(labels))
    centre = logs.mean(axis=0)
    centre = centre - np.logaddexp.reduce(centre, axis=1, keepdims=True)
    loss = float(-logs[:, rows, labels].mean())
    bias = float(-centre[rows, labels].mean())
    variance = float((np.exp(centre) * (centre - logs)).sum(axis=2).mean())
    unbiased = variance * len(logs) / (len(logs) - 1)
    return BiasVariance(loss, bias, variance, bias - unbiased / len(logs), unbiased)
