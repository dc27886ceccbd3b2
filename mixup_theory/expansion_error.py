"""How wrong the second-order expansions are: the cubic and quartic coefficients of their errors."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from ._checks import check_array, check_choice, check_one_alpha
from .derivation import Derivation, Step
from .expansion import EXPANSIONS
from .laws import LargerBeta
from .logistic_risk import linear_logits
from .quadrature import expect
from .weights import expected_max_lam, shrink_factor

__all__ = ["ErrorCoefficients", "derive_cubic_error", "error_coefficients"]


@dataclass(frozen=True)
class ErrorCoefficients:
    r"""Error :math:`c_3\varepsilon^3+c_4\varepsilon^4+O(\varepsilon^5)` of an expansion, exact risk minus expansion.

    Attributes:
        cubic: The coefficient c_3, in nats; exactly 0 for "zhang" and "midpoint".
        quartic: The coefficient c_4, in nats.
    """

    cubic: float
    quartic: float

    def at(self, scale: ArrayLike) -> NDArray[np.float64]:
        """Return the sum of both terms at the given scales of the weights."""
        scale = np.asarray(scale, dtype=float)
        return self.cubic * scale**3 + self.quartic * scale**4


def _powers(p: NDArray, r: NDArray) -> NDArray[np.float64]:
    """Stack the powers whose means are needed, shape [nodes, 6]."""
    return np.stack([p**3, r**3, p * r**2, p**4, r**4, (p * r) ** 2], axis=-1)


def _displacement_moments(name: str, alpha: float) -> tuple[NDArray[np.float64], float]:
    """Means of the powers of own weight p and partner weight r in the displacement, and the reference's own weight."""
    if name == "zhang":
        own = 1.0
    elif name == "midpoint":
        own = 0.5
    else:
        own = float(shrink_factor(alpha) if name == "size-biased" else expected_max_lam(alpha))
    # w is the weight of the first of the pair. The midpoint holds half of the second too, but for it every odd
    # power has mean 0, so that only the part of the first is needed of the reference.
    if name == "carratino":
        moments = LargerBeta(alpha).expect(lambda w: _powers(w - own, 1 - w))
    elif name == "midpoint":
        moments = expect(lambda w: _powers(w - own, own - w), alpha)
    else:
        moments = expect(lambda w: 2 * w[:, None] * _powers(w - own, 1 - w), alpha)
    return np.asarray(moments), own


def error_coefficients(
    name: str, x: ArrayLike, theta: ArrayLike, alpha: float, intercept: float = 0.0
) -> ErrorCoefficients:
    r"""Evaluate the first two coefficients of the error when the weights are :math:`\varepsilon\theta`, b fixed.

    With the displacement :math:`D=p\,(z_i-\bar z)+r\,(z_j-\bar z)` of a mixed logit from its reference
    :math:`b+\varepsilon\rho`, logits z without the intercept,

    .. math:: c_3=\tfrac16h'''(b)\,E D^3=\tfrac16h'''(b)\,E[p^3+r^3]\,m_3,\qquad
              c_4=h''''(b)\,E\left[\tfrac16\rho D^3+\tfrac1{24}D^4\right],

    :math:`m_3` the third central moment of the logits. So :math:`c_3` vanishes for "zhang" and "midpoint", where
    :math:`p=-r`, without an intercept, as :math:`h'''(0)=0`, and for logits without skew. The labels do not enter:
    the cross-entropy is linear in them, and the expansions keep their product with the logit exactly.

    Assumptions: all :math:`n^2` ordered pairs; linear logit; labels mixed with the inputs.

    Args:
        name: One of `EXPANSIONS`.
        x: Inputs, shape [n, d].
        theta: Weights, shape [d].
        alpha: Concentration in [0, inf].
        intercept: The intercept b.

    Returns:
        Both coefficients.

    Raises:
        ValueError: If `name` is unknown, or a shape or a value is wrong.

    References:
        theory E.4.

    Example:
        >>> error = error_coefficients("zhang", [[1.0], [-1.0]], [1.0], 1.0)
        >>> error.cubic, round(error.quartic, 6)  # (E(1 - Lambda)^4 - 2 E(1 - Lambda)^3) 8 h''''(0) / 24
        (0.0, 0.005556)
    """
    check_choice("name", name, EXPANSIONS)
    alpha, x = check_one_alpha(alpha), check_array("x", x, 2)
    z, _ = linear_logits(x, np.zeros(len(x)), theta)
    b = float(check_array("intercept", intercept, 0))
    away = z - z.mean()
    second, third, fourth = (float(np.mean(away**k)) for k in (2, 3, 4))
    (p3, r3, p1r2, p4, r4, p2r2), own = _displacement_moments(name, alpha)
    cube = (p3 + r3) * third
    reference = own * (p3 * fourth + 3 * p1r2 * second**2)
    fourth_power = (p4 + r4) * fourth + 6 * p2r2 * second**2
    sigma = float(expit(b))
    curvature = sigma * float(expit(-b))
    h3, h4 = curvature * (1 - 2 * sigma), curvature * (1 - 6 * curvature)
    return ErrorCoefficients(float(h3 / 6 * cube), float(h4 * ((z.mean() * cube + reference) / 6 + fourth_power / 24)))


def derive_cubic_error() -> Derivation:
    r"""Derive :math:`c_3=\tfrac16h'''(b)\,m_3\,E[p^3+r^3]`, and 0 for :math:`p=-r`.

    Returns:
        The derivation, for weights p, r that are not random (their powers are averaged afterwards); its end is the
        cubic term of "zhang" and "midpoint", where a pair is displaced along itself.

    References:
        theory E.4.

    Example:
        >>> derive_cubic_error().verify().result
        0
    """
    p, r, m1, m2, m3, h3 = sp.symbols("p r m_1 m_2 m_3 h_3", real=True)
    cases = []
    for data in ((0, 1), (-2, 1, 4), (3, -1, -1, 5)):
        moments = {m: sp.Rational(sum(a**k for a in data), len(data)) for k, m in ((1, m1), (2, m2), (3, m3))}
        for own, other in ((2, -1), (-3, 3), (1, 5)):
            total = sum((own * a + other * c) ** 3 for a, c in product(data, repeat=2))
            cases.append(({p: own, r: other, **moments}, sp.Rational(total, len(data) ** 2)))
    general = p**3 * m3 + 3 * p**2 * r * m2 * m1 + 3 * p * r**2 * m1 * m2 + r**3 * m3
    term = h3 * m3 * (p**3 + r**3) / 6
    steps = (
        Step(general, "mean over all ordered pairs of the cubed displacement, in moments of a", tuple(cases)),
        Step(sp.Eq(h3 / 6 * general.subs(m1, 0), term, evaluate=False), "a is centred; the third-order Taylor term"),
        Step(sp.Eq(term.subs(p, -r), sp.Integer(0), evaluate=False), "p = -r"),
    )
    return Derivation(
        "The cubic error needs skewed logits and an intercept, and vanishes where p = -r.",
        ("all ordered pairs", "displacement p a_i + r a_j, a the logits less their mean", "h_3 = h'''(b)"),
        steps,
    )
