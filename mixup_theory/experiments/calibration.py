r"""How far confidence is from accuracy: calibration errors, their sign, an unbiased square, and reliability curves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax

from .._checks import check_array, check_choice, check_integer, check_interval

__all__ = [
    "BINS",
    "ReliabilityCurve",
    "check_predictions",
    "class_wise_error",
    "expected_calibration_error",
    "overconfidence",
    "reliability_curve",
    "squared_calibration_error",
]

BINS = ("width", "mass")  # bins of equal width in [0, 1], or of equal numbers of examples


def check_predictions(logits: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return logits and labels that fit together.

    Args:
        logits: Outputs of a network, shape [n, K], K >= 2.
        labels: Labels 0..K-1, shape [n].

    Returns:
        The logits as float64 and the labels.

    Raises:
        ValueError: If a logit is not finite, or shapes or labels do not fit.
    """
    outputs, y = check_array("logits", logits, 2), np.asarray(labels)
    if outputs.shape[1] < 2:
        raise ValueError(f"`logits` must have a column per class, at least 2, got shape {outputs.shape}.")
    if y.shape != outputs.shape[:1] or y.dtype.kind not in "iu":
        raise ValueError(f"`labels` must be {len(outputs)} whole numbers, got {y.dtype} of shape {y.shape}.")
    if y.min() < 0 or y.max() >= outputs.shape[1]:
        raise ValueError(f"`labels` must be in 0..{outputs.shape[1] - 1}, got {y.min()}..{y.max()}.")
    return outputs, y


def expected_calibration_error(logits: ArrayLike, labels: ArrayLike, num_bins: int = 15, bins: str = "width") -> float:
    r"""Mean gap of confidence and accuracy over bins, :math:`\sum_b\frac{n_b}n|\mathrm{conf}_b-\mathrm{acc}_b|`.

    A bin of equal width is [k/B, (k+1)/B), the last one closed; torchmetrics and the literature agree but for a
    confidence of exactly 1, which torchmetrics gives a bin of its own. Bins of equal mass hold n/B examples each,
    rounded, in the order of confidence. Noise in the accuracy of a bin makes the estimate too large, the more so the
    fewer examples a bin has: `squared_calibration_error` has no such bias.

    Args:
        logits: Outputs, shape [n, K].
        labels: Labels 0..K-1, shape [n].
        num_bins: Bins, >= 1.
        bins: `width` or `mass`.

    Returns:
        The error, in [0, 1].

    Raises:
        ValueError: If the arguments do not fit together or are out of range.

    References:
        Naeini, Cooper and Hauskrecht 2015; Guo et al. 2017; Nixon et al. 2019 (equal mass).

    Example:
        >>> logits = np.log([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
        >>> round(expected_calibration_error(logits, np.array([0, 1, 1])), 6)  # 2/3 (0.9 - 1/2) + 1/3 (1 - 0.6)
        0.4
    """
    confidence, correct = _top(*check_predictions(logits, labels))
    return _binned_gap(confidence, correct, _bin_index(confidence, num_bins, bins))


def class_wise_error(logits: ArrayLike, labels: ArrayLike, num_bins: int = 15, bins: str = "width") -> float:
    r"""Calibration error of every class's probability, averaged over classes.

    .. math:: \frac1K\sum_k\sum_b\frac{n_{bk}}n\left|\bar p_{bk}-\mathrm{freq}_{bk}(y=k)\right|

    The bins are over the probability of the class. Equal to the mean of K binary calibration errors.

    Args:
        logits: Outputs, shape [n, K].
        labels: Labels 0..K-1, shape [n].
        num_bins: Bins, >= 1.
        bins: `width` or `mass`.

    Returns:
        The error, in [0, 1]; smaller than that of the top class, as most probabilities of most classes are near 0.

    Raises:
        ValueError: If the arguments do not fit together or are out of range.

    References:
        Kull et al. 2019; Nixon et al. 2019.

    Example:
        >>> round(class_wise_error(np.log([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 1])), 6)
        0.4
    """
    outputs, y = check_predictions(logits, labels)
    p = softmax(outputs, axis=1)
    classes = range(p.shape[1])
    return float(np.mean([_binned_gap(p[:, k], y == k, _bin_index(p[:, k], num_bins, bins)) for k in classes]))


def squared_calibration_error(logits: ArrayLike, labels: ArrayLike, num_bins: int = 15, bins: str = "mass") -> float:
    r"""Unbiased estimate of the squared calibration error of the binned confidence.

    With :math:`d_i=\mathrm{conf}_i-1[\text{correct}]`, the square of a bin's mean gap without its diagonal,

    .. math:: \sum_b\frac{n_b}n\,\frac{(\sum_{i\in b}d_i)^2-\sum_{i\in b}d_i^2}{n_b(n_b-1)}.

    Only products of different, independent examples are left, so that its mean is
    :math:`\sum_b\frac{n_b}n(E[d\mid b])^2`, and 0 for a calibrated model, at every sample size; the plain square is
    too large by the variance of the bin's mean. A single estimate may be negative. A bin of one example says nothing
    and counts 0.

    Assumptions: independent examples; bins that do not depend on the labels.

    Args:
        logits: Outputs, shape [n, K].
        labels: Labels 0..K-1, shape [n].
        num_bins: Bins, >= 1.
        bins: `mass` or `width`.

    Returns:
        The estimate, at most 1.

    Raises:
        ValueError: If the arguments do not fit together or are out of range.

    References:
        Bröcker 2012 and Kumar, Liang and Ma 2019, whose correction acc(1 - acc)/(n - 1) treats the confidence of a bin
        as one number; the form without diagonal needs no such step.

    Example:
        >>> two = np.log([[0.8, 0.2], [0.8, 0.2]])
        >>> round(squared_calibration_error(two, np.array([0, 1]), num_bins=1), 6)  # d = -0.2 and 0.8
        -0.16
    """
    confidence, correct = _top(*check_predictions(logits, labels))
    index, gap = _bin_index(confidence, num_bins, bins), confidence - correct
    count, total, square = (np.bincount(index, w) for w in (None, gap, gap**2))
    kept = count > 1
    return float(np.sum((total[kept] ** 2 - square[kept]) / (count[kept] - 1)) / len(gap))


def overconfidence(logits: ArrayLike, labels: ArrayLike) -> float:
    """Mean confidence less accuracy: positive for an over-confident model, negative for an under-confident one.

    Its size is the calibration error with a single bin, hence at most that with any bins.

    Args:
        logits: Outputs, shape [n, K].
        labels: Labels 0..K-1, shape [n].

    Returns:
        The difference, in [-1, 1].

    Raises:
        ValueError: If the arguments do not fit together.

    Example:
        >>> round(overconfidence(np.log([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 1])), 6)
        0.4
    """
    confidence, correct = _top(*check_predictions(logits, labels))
    return float(np.mean(confidence - correct))


@dataclass(frozen=True)
class ReliabilityCurve:
    """Accuracy against confidence by bin; empty bins are left out.

    Attributes:
        confidence: Mean confidence of each bin, shape [B].
        accuracy: Share of correct predictions, shape [B].
        share: Share of all examples, shape [B]; adds up to 1.
        low: Lower end of the band of the accuracy, shape [B].
        high: Upper end, shape [B].
    """

    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    share: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def reliability_curve(
    logits: ArrayLike,
    labels: ArrayLike,
    rng: np.random.Generator,
    *,
    num_bins: int = 15,
    bins: str = "width",
    num_draws: int = 500,
    level: float = 0.95,
) -> ReliabilityCurve:
    """Reliability curve with a bootstrap band over examples.

    Several runs on one test set are pooled; the bootstrap draws test examples, each with the predictions of all runs,
    since runs agree on which examples are hard. So the band shows the uncertainty of the test set alone, pointwise.

    Args:
        logits: Outputs, shape [n, K], or [R, n, K] for R runs on the same examples.
        labels: Labels 0..K-1, shape [n].
        rng: Source of randomness.
        num_bins: Bins, >= 1.
        bins: `width` or `mass`.
        num_draws: Bootstrap samples.
        level: Of the band, in (0, 1).

    Returns:
        The curve. A bin that most bootstrap samples miss still has a band, from those that hit it.

    Raises:
        ValueError: If the arguments do not fit together or are out of range.

    References:
        Bröcker and Smith 2007, for bands by resampling.

    Example:
        >>> logits, labels = np.log([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]]), np.array([0, 1, 1])
        >>> curve = reliability_curve(logits, labels, np.random.default_rng(0))
        >>> curve.confidence.round(3).tolist(), curve.accuracy.tolist()
        ([0.6, 0.9], [1.0, 0.5])
    """
    runs = np.asarray(logits)
    runs = runs[None] if runs.ndim == 2 else runs
    tops = [_top(*check_predictions(run, labels)) for run in check_array("logits", runs, 3)]
    confidence, correct = (np.stack(part) for part in zip(*tops, strict=True))
    check_interval("level", level, 0, 1, closed="neither")
    index = _bin_index(confidence.ravel(), num_bins, bins).reshape(confidence.shape)
    used, index = np.unique(index, return_inverse=True)
    index = index.reshape(confidence.shape)
    cells = index + len(used) * np.arange(confidence.shape[1])  # one cell per example and bin, runs added up
    size = confidence.shape[1] * len(used)
    count, hits, sums = (
        np.bincount(cells.ravel(), weights, size).reshape(-1, len(used))
        for weights in (None, correct.ravel().astype(float), confidence.ravel())
    )
    n = len(count)
    weights = rng.multinomial(n, np.full(n, 1 / n), check_integer("num_draws", num_draws, 1)).astype(float)
    with np.errstate(invalid="ignore"):  # a sample that misses a bin
        drawn = (weights @ hits) / (weights @ count)
    low, high = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    total = count.sum(axis=0)
    accuracy = hits.sum(axis=0) / total
    low, high = np.minimum(low, accuracy), np.maximum(high, accuracy)  # few examples: the estimate may be an extreme
    return ReliabilityCurve(sums.sum(axis=0) / total, accuracy, total / total.sum(), low, high)


def _top(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the largest probability of each example and whether its class is right."""
    return softmax(logits, axis=1).max(axis=1), logits.argmax(axis=1) == labels


def _bin_index(values: NDArray[np.float64], num_bins: int, bins: str) -> NDArray[np.int64]:
    """Return the bin of each value in [0, 1]."""
    num_bins = check_integer("num_bins", num_bins, 1)
    if check_choice("bins", bins, BINS) == "width":
        edges = np.linspace(0, 1, num_bins + 1)[1:-1]
        return np.searchsorted(edges, values, side="right")
    rank = np.empty(len(values), dtype=np.int64)
    rank[np.argsort(values, kind="stable")] = np.arange(len(values))
    return rank * num_bins // len(values)


def _binned_gap(values: NDArray[np.float64], hit: NDArray[np.bool_], index: NDArray[np.int64]) -> float:
    """Return the gaps of value and hit rate, summed over bins: n_b/n times a mean gap is a sum of gaps over n."""
    return float(np.abs(np.bincount(index, values - hit)).sum() / len(values))
