"""Where the mixup optimum jumps: the crossing classes by enumeration, and the three-point line's critical alpha."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from mixup_theory.alternating_line import line_label
from mixup_theory.discontinuity import crossing_label, derive_three_point_critical_alpha

POINTS = np.array([[0.0, 1.0], [0.0, -1.0], [1.0, 0.0], [-1.0, 0.0]])
LABELS = np.array([1.0, 1.0, 0.0, 0.0])


def test_crossing_label_is_the_label_of_the_segment() -> None:
    rng = np.random.default_rng(0)
    for i in range(4):
        for j in range(4):
            lam = rng.uniform(0.05, 0.45, 5)[:, None]  # away from the middle, where two segments cross
            mixed = lam * POINTS[i] + (1 - lam) * POINTS[j]
            wanted = lam[:, 0] * LABELS[i] + (1 - lam[:, 0]) * LABELS[j]
            np.testing.assert_allclose(crossing_label(mixed), wanted, atol=1e-12)


def test_the_optimum_jumps_at_the_crossing() -> None:
    assert crossing_label([0.0, 0.0]) == 0.5
    assert crossing_label([[0.0, 1e-12], [1e-12, 0.0], [0.0, -1e-12]]).tolist() == [1.0, 0.0, 1.0]
    assert crossing_label(np.zeros((2, 3, 2))).shape == (2, 3)


@pytest.mark.parametrize("alpha", [0.3, 1.0, 5.0])
def test_the_crossing_by_monte_carlo(alpha: float) -> None:
    """A small disc around the origin sees both classes equally, whatever alpha."""
    rng = np.random.default_rng(2)
    i, j = rng.integers(0, 4, (2, 400_000))
    lam = rng.beta(alpha, alpha, 400_000)[:, None]
    mixed = lam * POINTS[i] + (1 - lam) * POINTS[j]
    inside = (np.hypot(*mixed.T) < 0.05) & (i != j)
    label = (lam[:, 0] * LABELS[i] + (1 - lam[:, 0]) * LABELS[j])[inside]
    assert abs(label.mean() - crossing_label([0.0, 0.0])) < 6 * label.std() / np.sqrt(inside.sum())


def test_the_critical_value_is_one() -> None:
    derivation = derive_three_point_critical_alpha().verify()
    assert float(derivation.result) == pytest.approx(line_label(1.0, 1.0, self_pairs=False), rel=1e-15)
    assert line_label(1 - 1e-12, 1.0) == pytest.approx(2 / 3, rel=1e-11)
    optimum = derivation.steps[0].expression.rhs  # with f(p) = p^(alpha - 1) it is the shipped function
    (w,) = optimum.free_symbols
    for x, alpha in ((0.3, 0.5), (0.8, 3.0)):
        value = optimum.subs(w, 1 / x - 1).replace(sp.Function("f"), lambda p, power=alpha - 1: p**power)
        assert float(value) == pytest.approx(line_label(x, alpha), rel=1e-12)


@pytest.mark.parametrize("point", [[0.2, 0.3], [0.0, 1.5], [0.9, 0.9], [1.0, 0.0, 0.0], [np.nan, 0.0]])
def test_bad_input(point: list) -> None:
    with pytest.raises(ValueError, match="`x` must"):
        crossing_label(point)
