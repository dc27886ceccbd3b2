r"""Where the mixup optimum jumps: at a crossing of classes, and next to a data point exactly from alpha = 1 on."""

from __future__ import annotations

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike

from ._checks import as_result, check_array
from .derivation import Derivation, Step
from .moments import Result

__all__ = ["crossing_label", "derive_three_point_critical_alpha"]


def crossing_label(x: ArrayLike) -> Result:
    r"""Mixup optimum for the two classes :math:`\{(0,\pm1)\}` (label 1) and :math:`\{(\pm1,0)\}` (label 0).

    Discontinuous for every alpha: 1 and 0 along the axes of the classes, 1/2 where they cross, and
    linear, :math:`|x_2|`, on the four segments between the classes.

    Args:
        x: Points on the segments, shape [..., 2]: on an axis, or with :math:`|x_1|+|x_2|=1`.

    Returns:
        The mean label, shape [...].

    Raises:
        ValueError: If a point is on no segment: no mixed point falls there.

    References:
        theory F.5; Chidambaram et al. 2022, Prop. 2.5.

    Example:
        >>> crossing_label([[0.0, 0.0], [0.0, 1e-9], [0.25, 0.75]]).tolist()
        [0.5, 1.0, 0.75]
    """
    x = check_array("x", x, (1, 2, 3))
    if x.shape[-1] != 2:
        raise ValueError(f"`x` must have two coordinates along its last axis, got shape {x.shape}.")
    first, second = np.abs(x[..., 0]), np.abs(x[..., 1])
    edge = np.abs(first + second - 1) < 1e-12
    if not np.all(edge | ((np.minimum(first, second) == 0) & (first + second <= 1))):
        raise ValueError(
            "`x` must be on an axis within the unit square or on |x1| + |x2| = 1; nothing is mixed elsewhere."
        )
    axis = np.where(second > first, 1.0, np.where(first > second, 0.0, 0.5))
    return as_result(np.where(edge, second, axis))


def derive_three_point_critical_alpha() -> Derivation:
    r"""Derive that without atoms the three-point line's optimum next to the middle point turns over at alpha = 1.

    Returns:
        The derivation; its result is the limit of :math:`g^*(x)` as x rises to 1, at alpha = 1 exactly: 2/3.

    References:
        theory F.5.

    Example:
        >>> derive_three_point_critical_alpha().verify().result
        2/3
    """
    w, alpha, delta = sp.symbols("w alpha delta", positive=True)
    x = 1 / (1 + w)  # 0 < x < 1, and x rises to 1 as w falls to 0
    density = sp.Function("f")  # of t (1 - t); proportional to its power alpha - 1
    mass = label = sp.Integer(0)
    for p in range(3):
        for r in range(3):
            if p != r and min(p, r) == 0:  # the pairs with x strictly between
                t = sp.factor((x - r) / (p - r))
                weight = density(sp.factor(t * (1 - t))) / abs(p - r)
                mass += weight
                label += weight * (t * (p % 2) + (1 - t) * (r % 2))
    near, far = sp.factor(x * (1 - x)), sp.factor(x / 2 * (1 - x / 2))
    optimum = x / (1 + ((1 + 2 * w) / (4 * w)) ** (alpha - 1) / 2)
    ratio = (4 * w / (1 + 2 * w)) ** delta

    def limit(value: sp.Expr) -> sp.Limit:
        return sp.Limit(optimum.subs(alpha, value), w, 0, "+")

    return Derivation(
        "On the line 0, 1, 2 with labels 0, 1, 0 the critical concentration is exactly 1.",
        ("pairs of different points", "lam ~ Beta(alpha, alpha)", "x = 1 / (1 + w) between the first two points"),
        (
            Step(
                sp.Eq(label / mass, x / (1 + density(far) / (2 * density(near)))), "ordered pairs around x enumerated"
            ),
            Step(
                sp.Eq(far / near, (1 + 2 * w) / (4 * w), evaluate=False),
                "its power alpha - 1: ratio of densities",
            ),
            Step(sp.Eq(limit(1 - delta), 1), "alpha = 1 - delta: next to the point its own label"),
            Step(
                sp.Eq(optimum.subs(alpha, 1 + delta), x * ratio / (ratio + sp.Rational(1, 2)), evaluate=False),
                "alpha = 1 + delta",
            ),
            Step(sp.Eq(sp.Limit(ratio, w, 0, "+"), 0), "so the label falls to 0, that of the outer pair"),
            Step(sp.Eq(limit(sp.Integer(1)), sp.Rational(2, 3)), "at alpha = 1 the outer pair weighs half"),
        ),
    )
