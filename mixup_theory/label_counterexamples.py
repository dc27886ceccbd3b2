r"""Losses for which mixing the losses and mixing the labels differ, each with its exact gap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logsumexp

from ._checks import as_result, check_array, check_choice, check_interval, check_positive

__all__ = [
    "LOSSES",
    "LabelMixing",
    "WeightedMean",
    "gaussian_nll_gradient_gap",
    "label_mixing_counterexample",
    "weighted_mean_cross_entropy",
]

LOSSES = ("mae", "focal", "gce", "hinge", "huber", "squared", "bce")

ValueAndSlope = tuple[NDArray, NDArray]


class LabelMixing(NamedTuple):
    r"""Loss mixing beside label mixing at one logit.

    Attributes:
        mix_of_losses: :math:`\lambda\ell(z,y_i)+(1-\lambda)\ell(z,y_j)`.
        loss_of_mix: :math:`\ell(z,\tilde y)`.
        slope_of_mix_of_losses: Derivative of the first in z.
        slope_of_loss_of_mix: Derivative of the second in z.
    """

    mix_of_losses: Any
    loss_of_mix: Any
    slope_of_mix_of_losses: Any
    slope_of_loss_of_mix: Any


def label_mixing_counterexample(
    loss: str,
    z: ArrayLike,
    y_i: ArrayLike,
    y_j: ArrayLike,
    lam: ArrayLike,
    *,
    gamma: float = 2.0,
    q: float = 0.7,
    delta: float = 1.0,
) -> LabelMixing:
    r"""Mix of losses and loss of the mixed label, values and slopes, for seven losses of one logit.

    With :math:`p=\sigma(z)`: `mae` :math:`2|y-p|` (both classes); `focal` with soft labels
    :math:`|y-p|^\gamma\,CE(y,p)`; `gce` :math:`\{1-(yp+(1-y)(1-p))^q\}/q`; `hinge` :math:`\max(0,1-yz)`;
    `huber` with threshold delta; `squared` :math:`\tfrac12(z-y)^2`; `bce` (no gap). At a kink the slope is that
    of the flat side. Only `squared` and `bce` have equal slopes everywhere; `hinge` has, inside the margin.

    Args:
        loss: One of `LOSSES`.
        z: Logit(s) or prediction(s), finite.
        y_i: First label(s): in [0, 1] for mae, focal, gce and bce, in [-1, 1] for hinge, else finite.
        y_j: Second label(s), likewise.
        lam: Weight(s) of the first label in [0, 1]. All four arguments broadcast.
        gamma: Exponent of the focal loss, >= 1.
        q: Exponent of the generalised cross-entropy, in (0, 1].
        delta: Threshold of the Huber loss, > 0.

    Returns:
        The four values, each of the common shape.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory C.2; Lin et al. 2017 (focal), Zhang and Sabuncu 2018 (gce).

    Example:
        >>> [round(v, 3) for v in label_mixing_counterexample("mae", np.log(1.5), 1.0, 0.0, 0.3)]
        [1.08, 0.6, 0.192, 0.48]
    """
    check_choice("loss", loss, LOSSES)
    gamma = float(check_interval("gamma", gamma, 1, np.inf, closed="left"))
    q = float(check_interval("q", q, 0, 1, closed="right"))
    delta = float(check_positive("delta", delta))
    logit, first, second = (check_array(name, v, (0, 1, 2)) for name, v in (("z", z), ("y_i", y_i), ("y_j", y_j)))
    if loss in ("mae", "focal", "gce", "bce", "hinge"):
        for name, y in (("y_i", first), ("y_j", second)):
            check_interval(name, y, -1 if loss == "hinge" else 0, 1)
    weight = check_interval("lam", lam, 0, 1)
    function = _value_and_slope(loss, logit, gamma, q, delta)
    one, two = function(first), function(second)
    mixed = function(weight * first + (1 - weight) * second)
    return LabelMixing(
        as_result(weight * one[0] + (1 - weight) * two[0]),
        as_result(mixed[0]),
        as_result(weight * one[1] + (1 - weight) * two[1]),
        as_result(mixed[1]),
    )


def _value_and_slope(loss: str, z: NDArray, gamma: float, q: float, delta: float) -> Callable[[NDArray], ValueAndSlope]:
    """Return the loss at logit z and its derivative in z, as a function of the label."""
    p, variance = expit(z), expit(z) * expit(-z)

    def cross_entropy(y: NDArray) -> ValueAndSlope:
        return np.logaddexp(0, z) - y * z, p - y

    def mae(y: NDArray) -> ValueAndSlope:
        return 2 * np.abs(y - p), 2 * np.sign(p - y) * variance

    def focal(y: NDArray) -> ValueAndSlope:
        distance = np.abs(y - p)
        value, slope = cross_entropy(y)
        growth = gamma * distance ** (gamma - 1) * np.sign(p - y) * variance
        return distance**gamma * value, growth * value + distance**gamma * slope

    def gce(y: NDArray) -> ValueAndSlope:
        inner = y * p + (1 - y) * expit(-z)
        return (1 - inner**q) / q, -(inner ** (q - 1)) * (2 * y - 1) * variance

    def hinge(y: NDArray) -> ValueAndSlope:
        return np.maximum(0, 1 - y * z), np.where(y * z < 1, -y, 0.0)

    def huber(y: NDArray) -> ValueAndSlope:
        error = np.abs(z - y)
        small, large = 0.5 * error**2, delta * (error - delta / 2)
        return np.where(error < delta, small, large), np.clip(z - y, -delta, delta)

    def squared(y: NDArray) -> ValueAndSlope:
        return 0.5 * (z - y) ** 2, z - y

    table = {
        "mae": mae,
        "focal": focal,
        "gce": gce,
        "hinge": hinge,
        "huber": huber,
        "squared": squared,
        "bce": cross_entropy,
    }
    return table[loss]


def gaussian_nll_gradient_gap(log_sigma: ArrayLike, y_i: ArrayLike, y_j: ArrayLike, lam: ArrayLike) -> Any:
    r"""Gap in the gradient of the Gaussian NLL with respect to a learned :math:`\varsigma=\ln\sigma`.

    Mix of gradients less gradient at the mixed label: :math:`-\lambda(1-\lambda)(y_i-y_j)^2e^{-2\varsigma}`. Never
    positive: descending on mixed labels pushes the predicted spread below what mixed losses ask for.

    Args:
        log_sigma: Log standard deviation(s) predicted, finite.
        y_i: First target(s), finite.
        y_j: Second target(s), finite.
        lam: Weight(s) in [0, 1]. All arguments broadcast.

    Returns:
        The gap, <= 0, whatever the predicted mean.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory C.2.

    Example:
        >>> gaussian_nll_gradient_gap(0.0, 1.0, 0.0, 0.5)
        -0.25
    """
    spread, first, second = (
        check_array(name, v, (0, 1, 2)) for name, v in (("log_sigma", log_sigma), ("y_i", y_i), ("y_j", y_j))
    )
    weight = check_interval("lam", lam, 0, 1)
    return as_result(-weight * (1 - weight) * (first - second) ** 2 * np.exp(-2 * spread))


class WeightedMean(NamedTuple):
    """The weighted-mean cross-entropy of a batch, by loss mixing and by label mixing.

    Attributes:
        mix_of_losses: Weighted means over class numbers, mixed with lam.
        loss_of_mix: The value that the same loss gives for the mixed probabilities.
    """

    mix_of_losses: float
    loss_of_mix: float


def weighted_mean_cross_entropy(
    logits: ArrayLike, y_i: ArrayLike, y_j: ArrayLike, lam: float, class_weights: ArrayLike
) -> WeightedMean:
    r"""What class weights with a mean do to mixup: PyTorch's `CrossEntropyLoss(weight=w, reduction="mean")`.

    Class numbers are normalised by the weights present, :math:`\sum_n w_{y_n}\ell_n/\sum_n w_{y_n}`;
    probabilities by the number of examples, :math:`\frac1N\sum_n\sum_k w_k\tilde y_{nk}\ell_{nk}`. So loss mixing
    and label mixing train different objectives, with different gradients, unless all weights are 1.

    Args:
        logits: Logits, shape [n, K].
        y_i: First class numbers 0..K-1, shape [n].
        y_j: Second class numbers, shape [n].
        lam: Weight of the first labels in [0, 1].
        class_weights: Weights > 0, shape [K].

    Returns:
        Both values.

    Raises:
        ValueError: If a shape, a label or a weight is out of range.

    References:
        theory C.2.

    Example:
        >>> both = weighted_mean_cross_entropy([[0.0, 0.0]], [0], [0], 0.5, [3.0, 1.0])
        >>> round(both.loss_of_mix / both.mix_of_losses, 12)  # three times ln 2, not ln 2
        3.0
    """
    z = check_array("logits", logits, 2)
    w = check_positive("class_weights", class_weights)
    if w.shape != z.shape[1:]:
        raise ValueError(f"`class_weights` must have shape {z.shape[1:]}, got {w.shape}.")
    weight = float(check_interval("lam", lam, 0, 1))
    losses = logsumexp(z, axis=1, keepdims=True) - z
    rows = []
    for name, labels in (("y_i", y_i), ("y_j", y_j)):
        index = check_interval(name, check_array(name, labels, 1), 0, z.shape[1] - 1)
        if index.shape != z.shape[:1] or np.any(index != np.round(index)):
            raise ValueError(f"`{name}` must be {len(z)} class numbers, got shape {index.shape}.")
        rows.append(np.eye(z.shape[1])[index.astype(int)])
    means = [np.sum(row * w * losses) / np.sum(row * w) for row in rows]
    mixed = weight * rows[0] + (1 - weight) * rows[1]
    return WeightedMean(float(weight * means[0] + (1 - weight) * means[1]), float(np.sum(mixed * w * losses) / len(z)))
