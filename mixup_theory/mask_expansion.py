"""Second-order expansion of any logit function under weights or masks: mixup, CutMix and what lies between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from ._checks import check_array, check_integer, check_interval
from .expansion import Expansion
from .weights import mean_p

__all__ = [
    "MaskLaw",
    "MaskMoments",
    "circular_cutmix",
    "mask_risk",
    "masked_terms",
    "mixup_moments",
]


@dataclass(frozen=True)
class MaskMoments:
    r"""Moments of 1 - M under the size-biased law :math:`dP'\propto\lambda_M dP`.

    Attributes:
        first: E'[1 - M_k], shape [d].
        second: E'[(1 - M_k)(1 - M_l)], shape [d, d].
    """

    first: NDArray[np.float64]
    second: NDArray[np.float64]


def mixup_moments(alpha: float, num_features: int) -> MaskMoments:
    r"""Moments of plain mixup, the mask :math:`\Lambda\mathbf 1`.

    :math:`E[1-\Lambda] = \alpha/(2\alpha+1)` and :math:`E(1-\Lambda)^2` is half of it.

    Args:
        alpha: Concentration in [0, inf].
        num_features: Number d of features.

    Returns:
        The moments, all entries equal.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory A.6, E.2.

    Example:
        >>> round(float(mixup_moments(1.0, 2).first[0]), 6)
        0.333333
    """
    d = check_integer("num_features", num_features, 1)
    away = 2 * float(mean_p(alpha))
    return MaskMoments(np.full(d, away), np.full((d, d), away / 2))


@dataclass(frozen=True)
class MaskLaw:
    r"""A finite law of masks: :math:`\tilde x = M\odot x_i+(1-M)\odot x_j`, label weight :math:`\lambda_M` of y_i.

    The law must be symmetric under :math:`(M,\lambda_M)\to(1-M,1-\lambda_M)`, without which the reduction to one
    label fails.

    Attributes:
        masks: Masks in [0, 1], shape [m, d].
        probabilities: Their probabilities, shape [m].
        lam: Label weights in [0, 1], shape [m]; the mean of the mask by default.

    Raises:
        ValueError: If shapes disagree, probabilities do not sum to 1, or the law is not symmetric.

    References:
        theory E.6.

    Example:
        >>> MaskLaw([[1, 0], [0, 1]], [0.5, 0.5]).size_biased().first.tolist()
        [0.5, 0.5]
    """

    masks: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    lam: NDArray[np.float64] = None  # type: ignore[assignment]  # the masks' means, put in below

    def __post_init__(self) -> None:
        masks = check_interval("masks", check_array("masks", self.masks, 2), 0, 1)
        probabilities = check_interval("probabilities", check_array("probabilities", self.probabilities, 1), 0, 1)
        lam = masks.mean(axis=1) if self.lam is None else check_interval("lam", self.lam, 0, 1)
        if not len(masks) == len(probabilities) or lam.shape != probabilities.shape:
            raise ValueError(
                f"`probabilities` and `lam` must have one entry for each of the {len(masks)} masks, got shapes "
                f"{probabilities.shape} and {lam.shape}."
            )
        if abs(probabilities.sum() - 1) > 1e-9:
            raise ValueError(f"`probabilities` must sum to 1, got {probabilities.sum():g}.")
        rows = np.column_stack([masks, lam])
        apart = np.abs(rows[:, None] - (1 - rows)[None]).max(axis=2) < 1e-9
        equal = np.abs(rows[:, None] - rows[None]).max(axis=2) < 1e-9
        if np.max(np.abs(apart @ probabilities - equal @ probabilities)) > 1e-9:
            raise ValueError(
                "`masks` must have a law symmetric under M to 1 - M with lam to 1 - lam, got one that is not. Add "
                "the complements with the same probabilities."
            )
        for name, value in (("masks", masks), ("probabilities", probabilities), ("lam", lam)):
            object.__setattr__(self, name, value)

    def size_biased(self) -> MaskMoments:
        """Evaluate the moments of 1 - M under the law weighted by lam.

        Returns:
            The moments, of shapes [d] and [d, d].
        """
        weights = 2 * self.probabilities * self.lam  # E lam = 1/2 by symmetry
        gap = 1 - self.masks
        return MaskMoments(weights @ gap, np.einsum("m,mk,ml->kl", weights, gap, gap))


def circular_cutmix(num_features: int) -> MaskLaw:
    r"""CutMix on a circle of d features: a window of uniform length 1..d-1 and uniform place comes from x_i.

    The window's complement is a window too, so the law is symmetric.

    Args:
        num_features: Number d >= 2 of features.

    Returns:
        The law over d (d - 1) masks.

    Raises:
        ValueError: If `num_features` < 2.

    References:
        theory B.8, E.6.

    Example:
        >>> circular_cutmix(4).masks.shape
        (12, 4)
    """
    d = check_integer("num_features", num_features, 2)
    masks = [np.roll(np.arange(d) < length, start) for length in range(1, d) for start in range(d)]
    return MaskLaw(np.array(masks, dtype=float), np.full(len(masks), 1 / len(masks)))


def mask_risk(logit: Callable[[NDArray], ArrayLike], x: ArrayLike, y: ArrayLike, law: MaskLaw) -> float:
    r"""Exact cross-entropy :math:`\frac1{n^2}\sum_{ij}E_M[h(f(\tilde x))-\tilde yf(\tilde x)]` under a mask law.

    Args:
        logit: Takes points of shape [m, d], returns logits of shape [m].
        x: Inputs, shape [n, d].
        y: Labels in [0, 1], shape [n].
        law: The masks.

    Returns:
        The risk in nats, by enumeration of all pairs and masks.

    Raises:
        ValueError: If shapes disagree or a value is out of range.

    References:
        theory E.6.

    Example:
        >>> law = MaskLaw([[0.0], [1.0]], [0.5, 0.5])  # swaps whole points: the plain risk
        >>> round(mask_risk(lambda x: x[:, 0], [[1.0], [-1.0]], [1, 0], law), 6)
        0.313262
    """
    x, y = _data(x, y)
    if law.masks.shape[1] != x.shape[1]:
        raise ValueError(f"`law` must have masks of {x.shape[1]} features as x, got {law.masks.shape[1]}.")
    total = 0.0
    for mask, probability, lam in zip(law.masks, law.probabilities, law.lam, strict=True):
        points = mask * x[:, None] + (1 - mask) * x[None]
        f = np.asarray(logit(points.reshape(-1, x.shape[1])), dtype=float).reshape(len(x), len(x))
        label = lam * y[:, None] + (1 - lam) * y
        total += probability * float(np.mean(np.logaddexp(0.0, f) - label * f))
    return float(total)


def masked_terms(
    x: ArrayLike,
    y: ArrayLike,
    values: ArrayLike,
    gradients: ArrayLike,
    moments: MaskMoments,
    hessians: ArrayLike | None = None,
) -> Expansion:
    r"""Expansion around the plain risk for any twice differentiable logit f and any symmetric mask law.

    With :math:`\Delta = r - x_i`, r uniform on the data, and the moments of 1 - M under the size-biased law,

    .. math:: R_1 = \tfrac1n\sum(h'_i-y_i)\sum_kE'[1-M_k]\,\partial_kf\,E\Delta_k,\quad
              R_2 = \tfrac1{2n}\sum h''_i\sum_{kl}E'[(1-M_k)(1-M_l)]\,\partial_kf\,\partial_lf\,E[\Delta_k\Delta_l]

    and R3 with :math:`(h'_i-y_i)\,\partial_{kl}f` in the place of :math:`h''_i\,\partial_kf\,\partial_lf`. With
    `mixup_moments` it is the expansion of plain mixup, `zhang_terms`, for a logit that is not linear.

    Assumptions: all :math:`n^2` ordered pairs; small displacements.

    Args:
        x: Inputs, shape [n, d].
        y: Labels in [0, 1], shape [n].
        values: Logits f(x_i), shape [n].
        gradients: Gradients of f at the points, shape [n, d].
        moments: Of the mask law, `MaskLaw.size_biased()` or `mixup_moments`.
        hessians: Hessians of f, shape [n, d, d]; None for a logit that is piecewise linear (R3 = 0).

    Returns:
        The expansion with terms "R1", "R2" and "R3".

    Raises:
        ValueError: If shapes disagree or a value is out of range.

    References:
        theory E.2, E.6; Zhang et al. 2021, Lemma 3.1; Park et al. 2022.

    Example:
        >>> x, y = [[1.0], [-1.0]], [1, 0]
        >>> terms = masked_terms(x, y, [1.0, -1.0], [[1.0], [1.0]], mixup_moments(1.0, 1)).terms
        >>> round(terms["R1"], 6)  # (1/3) (1 - sigma(1))
        0.089647
    """
    x, y = _data(x, y)
    n, d = x.shape
    f, gradient = check_array("values", values, 1), check_array("gradients", gradients, 2)
    hessian = np.zeros((n, d, d)) if hessians is None else check_array("hessians", hessians, 3)
    for name, array, shape in (
        ("values", f, (n,)),
        ("gradients", gradient, (n, d)),
        ("hessians", hessian, (n, d, d)),
        ("moments", moments.second, (d, d)),
    ):
        if array.shape != shape:
            raise ValueError(f"`{name}` must be of shape {list(shape)}, got {list(array.shape)}.")
    away = x.mean(axis=0) - x
    products = away[:, :, None] * away[:, None, :] + away.T @ away / n
    residual = expit(f) - y
    weighted = moments.second * products
    terms = {
        "R1": float(np.mean(residual * (gradient * away @ moments.first))),
        "R2": float(np.mean(expit(f) * expit(-f) * np.einsum("nkl,nk,nl->n", weighted, gradient, gradient)) / 2),
        "R3": float(np.mean(residual * np.einsum("nkl,nkl->n", weighted, hessian)) / 2),
    }
    return Expansion(float(np.mean(np.logaddexp(0.0, f) - y * f)), terms)


def _data(x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = check_array("x", x, 2), check_interval("y", check_array("y", y, 1), 0, 1)
    if len(x) != len(y):
        raise ValueError(f"`y` must have one label for each of the {len(x)} rows of x, got {len(y)}.")
    return x, y
