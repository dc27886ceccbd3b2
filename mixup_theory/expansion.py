"""The four second-order expansions of the mixup risk: reference points, terms, and order of the error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from ._checks import as_result, check_alpha, check_array, check_choice
from .logistic_risk import linear_logits
from .weights import expected_max_lam, mean_p, shrink_factor, var_lam, var_max_lam

__all__ = [
    "EXPANSIONS",
    "Expansion",
    "PerturbedData",
    "carratino_reformulation",
    "carratino_terms",
    "expansion_order",
    "midpoint_terms",
    "size_biased_terms",
    "zhang_terms",
]


@dataclass(frozen=True)
class Expansion:
    """A second-order approximation of the mixup risk.

    Attributes:
        reference: Loss at the reference points, a number or an array over alpha.
        terms: The corrections by name, each of the same shape.
    """

    reference: Any
    terms: Mapping[str, Any]

    @property
    def total(self) -> Any:
        """Reference plus all corrections: the approximate mixup risk."""
        return as_result(np.asarray(self.reference) + sum(np.asarray(term) for term in self.terms.values()))


def _softplus(z: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.logaddexp(0.0, z)


def _curvature(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Second derivative of ln(1 + exp z)."""
    return expit(z) * expit(-z)


def _columns(alpha: ArrayLike) -> NDArray[np.float64]:
    """One concentration per row, to broadcast against the samples on the last axis."""
    return check_alpha(alpha)[..., None]


def zhang_terms(x: ArrayLike, y: ArrayLike, theta: ArrayLike, alpha: ArrayLike, intercept: float = 0.0) -> Expansion:
    r"""Expansion around the unshrunk data, for a linear logit (:math:`R_3 = 0`).

    .. math:: R_1 = \tfrac{\alpha}{2\alpha+1}\tfrac1n\sum(\sigma(z_i)-y_i)(\bar z-z_i),\quad
              R_2 = \tfrac{\alpha}{4(2\alpha+1)}\tfrac1n\sum h''(z_i)[v_z+(z_i-\bar z)^2] .

    General logits and R3: `mask_expansion.masked_terms`. The reference is the plain risk: there is no shrinkage
    in this expansion, and "ERM on shrunk data + R1 + R2 + R3" mixes it with `carratino_terms`.

    Assumptions: all :math:`n^2` ordered pairs; small displacements, not small alpha (see `small_alpha`).

    Args:
        x: Inputs, shape [n, d].
        y: Labels in [0, 1], shape [n].
        theta: Weights, shape [d].
        alpha: Concentration(s) in [0, inf].
        intercept: The intercept b.

    Returns:
        The expansion with terms "R1" and "R2".

    Raises:
        ValueError: If a shape or a value is wrong.

    References:
        theory E.2; Zhang et al. 2021, Lemma 3.1.

    Example:
        >>> zhang_terms([[1.0], [-1.0]], [1, 0], [0.0], 1.0).terms["R2"]
        0.0
    """
    z, y = linear_logits(x, y, theta, intercept)
    away = 2 * np.asarray(mean_p(alpha))  # E[1 - Lambda]; E(1 - Lambda)^2 is half of it
    first = np.mean((expit(z) - y) * (z.mean() - z))
    second = np.mean(_curvature(z) * (z.var() + (z - z.mean()) ** 2))
    terms = {"R1": as_result(away * first), "R2": as_result(away / 4 * second)}
    return Expansion(as_result(np.mean(_softplus(z) - y * z) + 0 * away), terms)


def carratino_terms(
    x: ArrayLike, y: ArrayLike, theta: ArrayLike, alpha: ArrayLike, intercept: float = 0.0
) -> Expansion:
    r"""Expansion around data and labels shrunk to their means by :math:`\bar\vartheta = E\max(\lambda,1-\lambda)`.

    With :math:`\tilde z_i = \bar z+\bar\vartheta(z_i-\bar z)`, labels alike, :math:`\sigma^2 =
    \mathrm{Var}\max(\lambda,1-\lambda)` and :math:`\gamma^2 = \sigma^2+(1-\bar\vartheta)^2`:

    .. math:: \tfrac1n\sum[h(\tilde z_i)-\tilde y_i\tilde z_i]
              + \tfrac1{2n}\sum h''(\tilde z_i)[\sigma^2(z_i-\bar z)^2+\gamma^2v_z]
              - (\sigma^2+\gamma^2)c_{zy} .

    Assumptions: all :math:`n^2` ordered pairs; linear logit; small displacements.

    Args:
        x: Inputs, shape [n, d].
        y: Labels in [0, 1], shape [n].
        theta: Weights, shape [d].
        alpha: Concentration(s) in [0, inf].
        intercept: The intercept b.

    Returns:
        The expansion with terms "inputs" (xx) and "cross" (xy); the yy term of the cross-entropy is 0.

    Raises:
        ValueError: If a shape or a value is wrong.

    References:
        theory E.1; Carratino et al. 2022.

    Example:
        >>> round(carratino_terms([[1.0], [-1.0]], [1, 0], [1.0], 1.0).terms["cross"], 6)  # -(1/48 + 1/12) / 2
        -0.052083
    """
    z, y = linear_logits(x, y, theta, intercept)
    mean = np.asarray(expected_max_lam(_columns(alpha)))
    spread = np.asarray(var_max_lam(_columns(alpha)))
    partner = spread + (1 - mean) ** 2
    shrunk_z, shrunk_y = z.mean() + mean * (z - z.mean()), y.mean() + mean * (y - y.mean())
    reference = np.mean(_softplus(shrunk_z) - shrunk_y * shrunk_z, axis=-1)
    displaced = spread * (z - z.mean()) ** 2 + partner * z.var()
    covariance = np.mean((z - z.mean()) * (y - y.mean()))
    terms = {
        "inputs": as_result(np.mean(_curvature(shrunk_z) * displaced, axis=-1) / 2),
        "cross": as_result(-(spread + partner)[..., 0] * covariance),
    }
    return Expansion(as_result(reference), terms)


def size_biased_terms(
    x: ArrayLike, y: ArrayLike, theta: ArrayLike, alpha: ArrayLike, intercept: float = 0.0
) -> Expansion:
    r"""Expansion around data shrunk by exactly :math:`s(\alpha)`, with the hard labels.

    .. math:: \tfrac1n\sum[h(\tilde z_i)-y_i\tilde z_i] + \tfrac1{2n}\sum h''(\tilde z_i)
              \left[\tfrac{\alpha}{2(2\alpha+1)^2}(z_i-\bar z)^2+\tfrac{\alpha}{2(2\alpha+1)}v_z\right],\quad
              \tilde z_i=\bar z+s(z_i-\bar z) .

    Assumptions: all :math:`n^2` ordered pairs; linear logit; small displacements.

    Args:
        x: Inputs, shape [n, d].
        y: Labels in [0, 1], shape [n].
        theta: Weights, shape [d].
        alpha: Concentration(s) in [0, inf].
        intercept: The intercept b.

    Returns:
        The expansion with the term "inputs".

    Raises:
        ValueError: If a shape or a value is wrong.

    References:
        theory E.3.

    Example:
        >>> size_biased_terms([[1.0], [-1.0]], [1, 0], [1.0], 0.0).terms["inputs"]
        0.0
    """
    z, y = linear_logits(x, y, theta, intercept)
    alpha = _columns(alpha)
    s, partner = np.asarray(shrink_factor(alpha)), np.asarray(mean_p(alpha))
    own = partner * 4 * np.asarray(var_lam(alpha))  # Var Lambda = alpha / (2 (2 alpha + 1)^2)
    shrunk = z.mean() + s * (z - z.mean())
    displaced = own * (z - z.mean()) ** 2 + partner * z.var()
    inputs = np.mean(_curvature(shrunk) * displaced, axis=-1) / 2
    return Expansion(as_result(np.mean(_softplus(shrunk) - y * shrunk, axis=-1)), {"inputs": as_result(inputs)})


def midpoint_terms(x: ArrayLike, y: ArrayLike, theta: ArrayLike, alpha: ArrayLike, intercept: float = 0.0) -> Expansion:
    r"""Expansion around the midpoints of all pairs: exact at alpha = inf, and not a limit of ERM at alpha = 0.

    .. math:: \frac1{n^2}\sum_{ij}\left[h(z_m)-y_mz_m+\frac{1}{8(2\alpha+1)}
              \left(h''(z_m)(z_i-z_j)^2-2(z_i-z_j)(y_i-y_j)\right)\right] .

    Assumptions: all :math:`n^2` ordered pairs; linear logit; small displacements.

    Args:
        x: Inputs, shape [n, d].
        y: Labels in [0, 1], shape [n].
        theta: Weights, shape [d].
        alpha: Concentration(s) in [0, inf].
        intercept: The intercept b.

    Returns:
        The expansion with terms "inputs" and "cross".

    Raises:
        ValueError: If a shape or a value is wrong.

    References:
        theory E.3.

    Example:
        >>> x, y = [[1.0], [-1.0]], [1, 0]
        >>> round(midpoint_terms(x, y, [1.0], float("inf")).total, 6)  # (ln(1 + 1/e) + ln 2) / 2
        0.503204
    """
    z, y = linear_logits(x, y, theta, intercept)
    width = np.asarray(var_lam(alpha)) / 2
    middle_z, middle_y = (z[:, None] + z) / 2, (y[:, None] + y) / 2
    apart_z, apart_y = z[:, None] - z, y[:, None] - y
    terms = {
        "inputs": as_result(width * np.mean(_curvature(middle_z) * apart_z**2)),
        "cross": as_result(-2 * width * np.mean(apart_z * apart_y)),
    }
    return Expansion(as_result(np.mean(_softplus(middle_z) - middle_y * middle_z) + 0 * width), terms)


EXPANSIONS = {
    "zhang": zhang_terms,
    "carratino": carratino_terms,
    "size-biased": size_biased_terms,
    "midpoint": midpoint_terms,
}


def expansion_order(name: str, *, with_intercept: bool) -> int:
    r"""Order of the error in the scale of the logits, :math:`\theta\to\varepsilon\theta`, b fixed.

    :math:`O(\varepsilon^3)` in general. For "zhang" and "midpoint" the cubic term cancels, as
    :math:`\sum_{ij}(z_i-z_j)^3=0`; without an intercept it vanishes for all four, as :math:`h'''(0)=0`.

    Args:
        name: One of `EXPANSIONS`.
        with_intercept: Whether b is not 0.

    Returns:
        3 or 4.

    Raises:
        ValueError: If `name` is unknown.

    References:
        theory E.4.

    Example:
        >>> [expansion_order(name, with_intercept=True) for name in EXPANSIONS]
        [4, 3, 3, 4]
    """
    check_choice("name", name, EXPANSIONS)
    return 3 if with_intercept and name in {"carratino", "size-biased"} else 4


@dataclass(frozen=True)
class PerturbedData:
    r"""Mixup as shrunk data with mean-zero perturbations :math:`\delta_i` (inputs) and :math:`\epsilon_i` (labels).

    Attributes:
        inputs: Shrunk inputs, shape [n, d].
        labels: Shrunk labels, shape [n].
        input_covariance: Cov(delta_i), shape [n, d, d].
        cross_covariance: Cov(delta_i, epsilon_i), shape [n, d].
        label_covariance: Var(epsilon_i), shape [n].
    """

    inputs: NDArray[np.float64]
    labels: NDArray[np.float64]
    input_covariance: NDArray[np.float64]
    cross_covariance: NDArray[np.float64]
    label_covariance: NDArray[np.float64]


def carratino_reformulation(x: ArrayLike, y: ArrayLike, alpha: float) -> PerturbedData:
    r"""Rewrite mixup exactly as randomly perturbed shrunk data, and give the perturbations' covariances.

    :math:`\tilde x_i = \bar x+\bar\vartheta(x_i-\bar x)`,
    :math:`\mathrm{Cov}(\delta_i,\epsilon_i) = \sigma^2(x_i-\bar x)(y_i-\bar y)+\gamma^2\hat\Sigma_{xy}`, and alike
    for xx and yy. The second-order expansion is exact for the squared loss of a linear model. Corollary: evaluate
    a network trained so at :math:`\bar x+\bar\vartheta(x-\bar x)`.

    Assumptions: all :math:`n^2` ordered pairs; any loss.

    Args:
        x: Inputs, shape [n, d].
        y: Labels, any finite numbers, shape [n].
        alpha: Concentration in [0, inf].

    Returns:
        Shrunk data and covariances.

    Raises:
        ValueError: If a shape or a value is wrong.

    References:
        theory E.1; Carratino et al. 2022.

    Example:
        >>> carratino_reformulation([[2.0], [0.0]], [1.0, 0.0], 1.0).inputs.tolist()  # 1 + 3/4 (x - 1)
        [[1.75], [0.25]]
    """
    x, y = check_array("x", x, 2), check_array("y", y, 1)
    if len(x) != len(y):
        raise ValueError(f"`y` must have one label for each of the {len(x)} rows of x, got {len(y)}.")
    mean, spread = float(expected_max_lam(alpha)), float(var_max_lam(alpha))
    partner = spread + (1 - mean) ** 2
    data = np.column_stack([x, y])
    centred = data - data.mean(axis=0)
    joint = spread * centred[:, :, None] * centred[:, None, :] + partner * (centred.T @ centred / len(x))
    shrunk = data.mean(axis=0) + mean * centred
    return PerturbedData(shrunk[:, :-1], shrunk[:, -1], joint[:, :-1, :-1], joint[:, :-1, -1], joint[:, -1, -1])
