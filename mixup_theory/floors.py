r"""What the mixup cross-entropy can reach: the entropy of the mixed labels, and what colliding inputs add to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray
from scipy.special import entr, rel_entr

from ._checks import as_result, check_alpha, check_array, check_interval, check_positive
from .derivation import Derivation, Step
from .finite_batch import fixed_point_probability
from .moments import Result
from .quadrature import expect_pieces
from .weights import expected_binary_entropy, expected_max_lam

__all__ = [
    "CrossEntropyParts",
    "cross_entropy_parts",
    "derive_expected_label_entropy",
    "different_class_probability",
    "expected_label_entropy",
    "mean_max_label",
    "smoothed_label_entropy",
]


@dataclass(frozen=True)
class CrossEntropyParts:
    """The mixup cross-entropy of a predictor, in three parts that no predictor can make negative.

    Attributes:
        label_entropy: Mean entropy of the mixed labels, the same for every predictor and every input.
        collision: Mean divergence of the labels from their mean at the same mixed input; 0 without collisions.
        excess: Mean divergence of that mean from the prediction; 0 for the optimum.
        optimum: The mean label of each distinct mixed input, shape [m, K].
    """

    label_entropy: float
    collision: float
    excess: float
    optimum: NDArray[np.float64]

    @property
    def floor(self) -> float:
        """The least cross-entropy of any predictor."""
        return self.label_entropy + self.collision

    @property
    def total(self) -> float:
        """The cross-entropy of the predictor."""
        return self.floor + self.excess


def cross_entropy_parts(
    labels: ArrayLike, cells: ArrayLike, predictions: ArrayLike, weights: ArrayLike | None = None
) -> CrossEntropyParts:
    r"""Split a cross-entropy on mixed examples: :math:`E\,H(\tilde y)+E\,KL(\tilde y\|g^*)+E\,KL(g^*\|g)`.

    The population optimum of any strictly proper loss is :math:`g^*(x)=E[\tilde y\mid\tilde x=x]`. It differs from
    the target of ERM wherever segments of different label mixtures cross.

    Args:
        labels: Mixed labels, rows that sum to 1, shape [n, K].
        cells: Which distinct mixed input each example has, whole numbers 0..m-1, shape [n].
        predictions: Predicted probabilities at each distinct input, rows that sum to 1, shape [m, K].
        weights: Probability of each example, shape [n]; uniform when None.

    Returns:
        The parts, in nats.

    Raises:
        ValueError: If shapes disagree or rows are no probabilities.

    References:
        theory F.2.

    Example:
        >>> parts = cross_entropy_parts([[1, 0], [0, 1]], [0, 0], [[0.5, 0.5]])  # two hard labels at one point
        >>> parts.label_entropy, round(parts.collision, 6), parts.excess
        (0.0, 0.693147, 0.0)
    """
    labels, predictions = _rows("labels", labels), _rows("predictions", predictions)
    index = np.asarray(cells)
    if index.shape != (len(labels),) or index.dtype.kind not in "iu" or index.min() < 0:
        raise ValueError(
            f"`cells` must be whole numbers >= 0 of shape [{len(labels)}], got {index.dtype} {index.shape}."
        )
    if predictions.shape[1] != labels.shape[1] or index.max() >= len(predictions):
        raise ValueError(
            f"`predictions` must have {labels.shape[1]} columns and more than {index.max()} rows, got shape "
            f"{predictions.shape}."
        )
    w = np.full(len(labels), 1.0) if weights is None else check_positive("weights", weights, zero=True)
    if w.shape != index.shape or not w.sum() > 0:
        raise ValueError(f"`weights` must have shape [{len(labels)}] and a positive sum, got shape {w.shape}.")
    w = w / w.sum()
    mass = np.bincount(index, w, minlength=len(predictions))
    optimum = np.zeros_like(predictions)
    np.add.at(optimum, index, w[:, None] * labels)
    optimum = np.where(mass[:, None] > 0, optimum / np.where(mass > 0, mass, 1.0)[:, None], predictions)
    return CrossEntropyParts(
        float(w @ entr(labels).sum(axis=1)),
        max(0.0, float(w @ rel_entr(labels, optimum[index]).sum(axis=1))),
        max(0.0, float(mass @ rel_entr(optimum, predictions).sum(axis=1))),
        optimum,
    )


def different_class_probability(counts: ArrayLike, partner: str = "independent") -> float:
    r"""Probability that the two members of a pair have different classes.

    :math:`1-\sum_k\pi_k^2` where self pairs occur, :math:`1-\sum_kn_k(n_k-1)/\{n(n-1)\}` where they do not.

    Args:
        counts: Examples per class, shape [K]; any weights >= 0 for `independent` and `permutation`.
        partner: One of `mixing.PARTNERS`.

    Returns:
        The probability, in [0, 1].

    Raises:
        ValueError: If counts are negative or all zero, or no whole numbers where self pairs are excluded.

    References:
        theory F.7.

    Example:
        >>> different_class_probability([1, 1], "independent"), different_class_probability([1, 1], "derangement")
        (0.5, 1.0)
    """
    counts = check_positive("counts", check_array("counts", counts, 1), zero=True)
    n = float(counts.sum())
    if not n > 0:
        raise ValueError("`counts` must have a positive sum, got 0.")
    if partner in ("independent", "permutation"):
        return float(np.sum(counts / n * (n - counts) / n))
    if np.any(counts != np.round(counts)):
        raise ValueError(f"`counts` must be whole numbers for partner {partner!r}, got {counts.tolist()}.")
    fixed_point_probability(int(n), partner)  # checks the scheme; it is 0 for the rest
    return float(np.sum(counts * (n - counts)) / (n * (n - 1)))


def mean_max_label(alpha: ArrayLike, counts: ArrayLike, partner: str = "independent") -> Result:
    r"""Mean top entry of the mixed label: :math:`P(\text{same class})+P(\text{different})\,E\max(\lambda,1-\lambda)`.

    Of the labels on mixed inputs only. It caps no confidence on clean inputs: there the optimum is 1 at isolated
    points, 0.97 and more for two points, and has a temperature of its own in each model.

    Args:
        alpha: Beta concentration(s) in [0, inf].
        counts: Examples per class, shape [K]; `np.ones(K)` for balanced classes.
        partner: One of `mixing.PARTNERS`.

    Returns:
        The mean, in [1/2, 1], of the shape of `alpha`.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory F.6.

    Example:
        >>> round(mean_max_label(0.2, np.ones(10)), 6)
        0.908929
    """
    different = different_class_probability(counts, partner)
    return as_result(1 - different * (1 - np.asarray(expected_max_lam(alpha))))


def expected_label_entropy(alpha: ArrayLike, counts: ArrayLike, partner: str = "independent") -> Result:
    r"""Mean label entropy :math:`E\,H(\tilde y)=P(\text{different})\,\{\psi(2\alpha+1)-\psi(\alpha+1)\}`.

    A lower bound on the mixup cross-entropy of any predictor, attained if and only if the mixed label is a function
    of the mixed input, as for generic data in high dimension. Balanced classes and alpha = 1: (K - 1)/(2K).

    Args:
        alpha: Beta concentration(s) in [0, inf].
        counts: Examples per class, shape [K]; `np.ones(K)` for balanced classes.
        partner: One of `mixing.PARTNERS`.

    Returns:
        The bound in nats, in [0, ln 2], of the shape of `alpha`.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory F.6, F.7; Liu et al. 2023.

    Example:
        >>> round(expected_label_entropy(1.0, np.ones(10)), 12)
        0.45
    """
    return as_result(different_class_probability(counts, partner) * np.asarray(expected_binary_entropy(alpha)))


def smoothed_label_entropy(
    alpha: ArrayLike, smoothing: ArrayLike, counts: ArrayLike, partner: str = "independent"
) -> Result:
    r"""Mean entropy of mixed and smoothed labels, :math:`E\,H((1-\varepsilon)\tilde y+\varepsilon/K)`.

    The lower bound on the cross-entropy when mixup and label smoothing are used together; by quadrature.

    Args:
        alpha: Beta concentration(s) in [0, inf].
        smoothing: Label smoothing in [0, 1], broadcast with `alpha`; 0 gives `expected_label_entropy`.
        counts: Examples per class, shape [K]; `np.ones(K)` for balanced classes.
        partner: One of `mixing.PARTNERS`.

    Returns:
        The bound in nats, in [0, ln K].

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory F.7.

    Example:
        >>> round(smoothed_label_entropy(1.0, 0.1, np.ones(10)), 6)
        0.873239
    """
    different = different_class_probability(counts, partner)
    alpha, smoothing = np.broadcast_arrays(check_alpha(alpha), check_interval("smoothing", smoothing, 0, 1))
    num_classes = np.asarray(counts).size

    def mean_entropy(a: float, eps: float) -> float:
        if eps == 0:
            return different * float(expected_binary_entropy(a))
        floor = eps / num_classes  # of every entry; entr bends on that scale
        scales = floor * 4.0 ** np.arange(-2, 1 + np.ceil(np.log(0.5 / min(floor, 0.5)) / np.log(4)))
        knots = np.concatenate([[0.0], scales[scales < 0.5], [0.5, 1.0]])

        def entry(lam: NDArray) -> NDArray:
            return entr((1 - eps) * lam + floor)

        mixed = 2 * float(expect_pieces(entry, a, knots))  # lam and 1 - lam have one law
        same = float(entry(np.ones(1))[0] + entr(floor))
        return different * mixed + (1 - different) * same + (num_classes - 2) * float(entr(floor))

    values = [mean_entropy(float(a), float(eps)) for a, eps in zip(alpha.flat, smoothing.flat, strict=True)]
    return as_result(np.reshape(values, alpha.shape))


def derive_expected_label_entropy() -> Derivation:
    r"""Derive :math:`E\,H(\lambda)=\psi(2\alpha+1)-\psi(\alpha+1)` from the moments of lam.

    :math:`-\lambda\ln\lambda=-\partial_k\lambda^k` at k = 1, and the two terms of H have one expectation.

    Returns:
        The derivation; its result is the closed form in alpha.

    References:
        theory F.6.

    Example:
        >>> derive_expected_label_entropy().verify().result
        -polygamma(0, alpha + 1) + polygamma(0, 2*alpha + 1)
    """
    alpha, k = sp.symbols("alpha k", positive=True)
    t = sp.Symbol("t", positive=True)
    moment = sp.gamma(alpha + k) * sp.gamma(2 * alpha) / (sp.gamma(alpha) * sp.gamma(2 * alpha + k))
    closed = sp.digamma(2 * alpha + 1) - sp.digamma(alpha + 1)
    entropy = -t * sp.log(t) - (1 - t) * sp.log(1 - t)
    counted = tuple(
        ({alpha: n}, sp.expand_func(sp.integrate(sp.expand(-2 * t * sp.log(t) * density), (t, 0, 1))))
        for n, density in ((1, sp.Integer(1)), (2, 6 * t * (1 - t)), (3, 30 * t**2 * (1 - t) ** 2))
    )
    return Derivation(
        "The mean label entropy of a pair of two classes has a closed form.",
        ("lam ~ Beta(alpha, alpha)",),
        (
            Step(sp.Eq(entropy, sp.expand(entropy).subs(t, 1 - t)), "H is symmetric: twice one term in expectation"),
            Step(-2 * sp.diff(moment, k).subs(k, 1), "minus twice the derivative of the k-th moment at k = 1", counted),
            Step(closed, "E lam = 1/2 times a difference of digammas"),
        ),
    )


def _rows(name: str, value: ArrayLike) -> NDArray[np.float64]:
    rows = check_interval(name, check_array(name, value, 2), 0, 1)
    if not np.allclose(rows.sum(axis=1), 1, rtol=0, atol=1e-9):
        raise ValueError(
            f"`{name}` must have rows that sum to 1, got sums from {rows.sum(axis=1).min():g} to "
            f"{rows.sum(axis=1).max():g}."
        )
    return rows
