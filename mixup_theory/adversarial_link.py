"""The adversarial link: second-order mixup loss bounds a second-order adversarial loss of stated radii."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from ._checks import check_array, check_positive
from .expansion import zhang_terms
from .logistic_risk import linear_logits, mixup_logistic_risk
from .weights import mean_p

__all__ = ["AdversarialLink", "adversarial_link", "adversarial_logistic_risk", "adversarial_radius"]


def adversarial_radius(x: ArrayLike, theta: ArrayLike, alpha: float) -> NDArray[np.float64]:
    r"""Radius :math:`\epsilon_i = (1-s(\alpha))\,|\theta^\top(x_i-\bar x)|/\lVert\theta\rVert` of each point.

    :math:`1-s < \tfrac12` times the distance to the hyperplane through the mean: it vanishes for the points that
    need protection most.

    Args:
        x: Inputs, shape [n, d].
        theta: Weights, not all 0, shape [d].
        alpha: Concentration in [0, inf].

    Returns:
        The radii, shape [n], >= 0.

    Raises:
        ValueError: If a shape or a value is wrong.

    References:
        theory E.5.

    Example:
        >>> adversarial_radius([[3.0, 9.0], [-3.0, 0.0]], [1.0, 0.0], float("inf")).tolist()
        [1.5, 1.5]
    """
    x = check_array("x", x, 2)
    z, _ = linear_logits(x - x.mean(axis=0), np.zeros(len(x)), theta)
    norm = float(np.linalg.norm(check_array("theta", theta, 1)))
    if norm == 0:
        raise ValueError("`theta` must not be 0, got a zero vector. It has no decision boundary.")
    return 2 * float(mean_p(alpha)) * np.abs(z) / norm


def adversarial_logistic_risk(
    x: ArrayLike, y: ArrayLike, theta: ArrayLike, radius: ArrayLike, intercept: float = 0.0
) -> float:
    r"""Exact l2-adversarial loss :math:`\frac1n\sum\max_{\lVert\delta\rVert\le\epsilon_i}\ell(x_i+\delta,y_i)`.

    The worst logit against a hard label is :math:`z_i \mp \epsilon_i\lVert\theta\rVert`.

    Args:
        x: Inputs, shape [n, d].
        y: Hard labels 0 or 1, shape [n].
        theta: Weights, shape [d].
        radius: Radii >= 0, a number or shape [n].
        intercept: The intercept b.

    Returns:
        The mean worst-case loss in nats.

    Raises:
        ValueError: If a shape or a value is wrong.

    References:
        theory E.5.

    Example:
        >>> round(adversarial_logistic_risk([[1.0]], [1], [2.0], 1.0), 6)  # ln 2: moved onto the boundary
        0.693147
    """
    z, y = linear_logits(x, y, theta, intercept)
    sign = _signs(y)
    radius = check_positive("radius", radius, zero=True)
    if radius.shape not in {(), z.shape}:
        raise ValueError(f"`radius` must be a number or of shape [{len(z)}], got shape {radius.shape}.")
    return float(np.mean(np.logaddexp(0.0, radius * np.linalg.norm(np.asarray(theta, dtype=float)) - sign * z)))


def _signs(y: NDArray[np.float64]) -> NDArray[np.float64]:
    if not np.all((y == 0) | (y == 1)):
        raise ValueError(f"`y` must be 0 or 1, got {float(y[(y != 0) & (y != 1)][0]):g}.")
    return 2 * y - 1


@dataclass(frozen=True)
class AdversarialLink:
    """Both sides of the inequality, and the exact losses that they stand for.

    Attributes:
        radius: Radius of every point, shape [n].
        mixup_loss: Left side, the second-order mixup loss.
        adversarial_loss: Right side, the second-order adversarial loss; never above `mixup_loss`.
        exact_mixup_loss: The mixup risk itself, for which the inequality is not claimed.
        exact_adversarial_loss: The adversarial risk itself.
    """

    radius: NDArray[np.float64]
    mixup_loss: float
    adversarial_loss: float
    exact_mixup_loss: float
    exact_adversarial_loss: float


def adversarial_link(x: ArrayLike, y: ArrayLike, theta: ArrayLike, alpha: float) -> AdversarialLink:
    r"""Evaluate both sides of the adversarial bound for a linear logit without intercept.

    .. math:: L_{std}+R_1+R_2 \ge \frac1n\sum_i\left[\ell_i+|\sigma_i-y_i|\lVert\theta\rVert\epsilon_i
              +\tfrac12h''_i\lVert\theta\rVert^2\epsilon_i^2\right]

    with the radii of `adversarial_radius`. R1 equals the first-order term exactly;
    :math:`E(1-\Lambda)^2\ge(E[1-\Lambda])^2` and :math:`v_z\ge0` give the rest. It is a statement about the
    quadratic surrogate, hence the two exact losses beside it.

    Assumptions: centred inputs; every point on its side, :math:`(2y_i-1)z_i\ge0`; hard labels.

    Args:
        x: Centred inputs, shape [n, d].
        y: Labels 0 or 1, shape [n].
        theta: Weights, not all 0, that classify every point correctly, shape [d].
        alpha: Concentration in [0, inf].

    Returns:
        Both sides, the radii and the exact losses.

    Raises:
        ValueError: If the inputs are not centred, a point is misclassified, or a value is out of range.

    References:
        theory E.5; of the type of Zhang et al. 2021, Theorem 3.1.

    Example:
        >>> link = adversarial_link([[1.0], [-1.0]], [1, 0], [2.0], 1.0)
        >>> link.mixup_loss >= link.adversarial_loss
        True
    """
    x = check_array("x", x, 2)
    z, y = linear_logits(x, y, theta)
    scale = float(np.max(np.abs(x)))
    if np.max(np.abs(x.mean(axis=0))) > 1e-9 * max(scale, 1e-300):
        raise ValueError(
            f"`x` must be centred, got a mean of up to {np.max(np.abs(x.mean(axis=0))):g}. Subtract it: the logit "
            "has no intercept."
        )
    sign = _signs(y)
    if np.any(sign * z < 0):
        raise ValueError(f"`theta` must classify every point correctly, got {int(np.sum(sign * z < 0))} errors.")
    radius = adversarial_radius(x, theta, alpha)
    reach = radius * np.linalg.norm(np.asarray(theta, dtype=float))
    plain = np.logaddexp(0.0, -sign * z)
    pushed = plain + np.abs(expit(z) - y) * reach + expit(z) * expit(-z) * reach**2 / 2
    return AdversarialLink(
        radius=radius,
        mixup_loss=float(zhang_terms(x, y, theta, alpha).total),
        adversarial_loss=float(np.mean(pushed)),
        exact_mixup_loss=float(mixup_logistic_risk(x, y, theta, alpha)),
        exact_adversarial_loss=adversarial_logistic_risk(x, y, theta, radius),
    )
