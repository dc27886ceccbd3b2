r"""One temperature for all logits, fitted on held-out examples, and every calibration measure before and after it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import softmax

from .calibration import check_predictions
from .metrics import METRICS, example_losses

__all__ = ["MEASURES", "calibration_measures", "fit_temperature", "scaled_measures"]

MEASURES = ("ece", "mass_ece", "class_ece", "squared_ece", "overconfidence", "brier")


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    r"""Temperature T > 0 that minimises the negative log-likelihood of :math:`\mathrm{softmax}(z/T)`.

    In :math:`b=1/T` the loss is convex, with derivative :math:`\frac1n\sum_i(E_{p_i}[z]-z_{i,y_i})`: increasing, so
    that its root is bracketed and found. T > 1 means that the logits were too large: over-confident.

    Assumptions: `logits` come from examples the network was neither trained nor is tested on.

    Args:
        logits: Outputs, shape [n, K].
        labels: Labels 0..K-1, shape [n].

    Returns:
        The temperature; inf where no b > 0 is better than giving all classes the same probability.

    Raises:
        ValueError: If the arguments do not fit together, or every example is classified right: then a colder
            network is always better.

    References:
        Guo et al. 2017.

    Example:
        >>> logits = np.tile([2.0, 0.0], (10, 1))  # right 8 times in 10: T = 2 / ln 4
        >>> round(fit_temperature(logits, np.array([0] * 8 + [1] * 2)), 6)
        1.442695
    """
    z, y = check_predictions(logits, labels)
    z = z - z.max(axis=1, keepdims=True)
    own = z[np.arange(len(y)), y]
    scale = float(-z.mean())  # of the logits: b is searched for in its units
    if own.min() == 0:
        raise ValueError(
            f"`logits` must be wrong for at least one of the examples, got all {len(y)} right: the best temperature "
            "is 0. Hold out more examples."
        )

    def slope(b: float) -> float:
        return float(np.mean((softmax(b * z, axis=1) * z).sum(axis=1) - own))

    if slope(0.0) >= 0:
        return math.inf
    top = 1 / scale
    while slope(top) < 0:
        top *= 2
    return 1 / float(brentq(slope, 0.0, top, xtol=1e-12 * top, rtol=1e-12))


def calibration_measures(logits: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """Return every measure of one run: `MEASURES`, and `nll` and `accuracy`.

    Args:
        logits: Outputs, shape [n, K].
        labels: Labels 0..K-1, shape [n].

    Returns:
        Measure by name. `squared_ece` is the unbiased one and may be negative.

    Raises:
        ValueError: If the arguments do not fit together.

    Example:
        >>> got = calibration_measures(np.log([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 1]))
        >>> round(got["ece"], 6), round(got["nll"], 6), got["accuracy"]
        (0.4, 1.203973, 0.5)
    """
    z, y = check_predictions(logits, labels)
    measures = {name: METRICS[name](z, y) for name in MEASURES}
    return measures | {"nll": float(example_losses(z, y).mean()), "accuracy": float((z.argmax(axis=1) == y).mean())}


def scaled_measures(
    logits: ArrayLike, labels: ArrayLike, held_out_logits: NDArray, held_out_labels: NDArray[np.int64]
) -> dict[str, float]:
    """Return every measure as trained, and again with the temperature that held-out examples ask for.

    Args:
        logits: Outputs on the test set, shape [n, K].
        labels: Test labels, shape [n].
        held_out_logits: Outputs on examples held out of training, shape [m, K].
        held_out_labels: Their labels, shape [m].

    Returns:
        `calibration_measures` by name, the same after scaling as `scaled_<name>`, and the `temperature`.

    Raises:
        ValueError: If the arguments do not fit together, or no temperature can be fitted.

    Example:
        >>> test, held_out = np.log([[0.9, 0.1], [0.9, 0.1]]), np.log([[0.9, 0.1]] * 4)
        >>> got = scaled_measures(test, np.array([0, 1]), held_out, np.array([0, 0, 0, 1]))
        >>> round(got["temperature"], 6), round(got["ece"], 6), round(got["scaled_ece"], 6)  # ln 9 / ln 3
        (2.0, 0.4, 0.25)
    """
    temperature = fit_temperature(held_out_logits, held_out_labels)
    after = calibration_measures(np.asarray(logits, dtype=np.float64) / temperature, labels)
    return {
        **calibration_measures(logits, labels),
        **{f"scaled_{name}": value for name, value in after.items()},
        "temperature": temperature,
    }
