"""Second moments of piecewise-linear functions against mpmath, hand cases and their limits."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest

from mixup_theory.path_moments import expected_product, expected_square, large_alpha_slope, small_alpha_slope
from mixup_theory.segments import SegmentPaths
from mixup_theory.weights import expected_abs_u, var_lam

STEEP = [0, 1e-9, 2e-9, 0.3, 0.3 + 1e-9, 0.5, 0.5 + 1e-7, 1 - 1e-6, 1]
PLAIN = [0, 0.02, 0.11, 0.35, 0.36, 0.5, 0.61, 0.93, 1]


def path(knots: list, values: np.ndarray) -> SegmentPaths:
    return SegmentPaths(np.array(knots, dtype=float), np.asarray(values, dtype=float), np.array([0, len(knots)]))


def exact(knots: list, values: np.ndarray, alpha: float) -> mp.mpf:
    """Sum over pieces of A^2 M2 + 2AB M1 + B^2 M0 with raw incomplete Beta moments (theory D.3)."""
    a, total = mp.mpf(alpha), mp.mpf(0)
    for t0, t1, v0, v1 in zip(knots[:-1], knots[1:], values[:-1], values[1:], strict=True):
        t0, t1, v0, v1 = (mp.mpf(float(v)) for v in (t0, t1, v0, v1))
        slope = (v1 - v0) / (t1 - t0)
        start = v0 - slope * t0
        m = [mp.betainc(a + k, a, t0, t1) / mp.beta(a, a) for k in range(3)]
        total += slope**2 * m[2] + 2 * slope * start * m[1] + start**2 * m[0]
    return total


@pytest.mark.parametrize("vanishing", [False, True], ids=["free ends", "zero ends"])
@pytest.mark.parametrize("knots", [PLAIN, STEEP], ids=["plain", "steep"])
@pytest.mark.parametrize("alpha", [1e-8, 1e-3, 0.3, 1.0, 2.5, 40.0])
def test_expected_square_is_right_to_relative_rounding(alpha: float, knots: list, vanishing: bool) -> None:
    values = np.random.default_rng(5).normal(size=9)
    if vanishing:
        values[[0, -1]] = 0
    with mp.workdps(60):
        wanted = exact(knots, values, alpha)
        got = expected_square(path(knots, values[:, None]), alpha)
        assert abs(float(got[0] / wanted - 1)) < 2e-13


@pytest.mark.parametrize("alpha", [150.0, 199.9, 200.1, 1e3, 1e6])
def test_large_alpha_by_polynomials_of_the_centred_weight(alpha: float) -> None:
    """R = c + S|v| with a kink at 1/2: E R^2 = c^2 + c S E|u| + S^2 var lam; knots elsewhere change nothing."""
    c, slope = 0.3, 1.7
    wanted = c**2 + c * slope * expected_abs_u(alpha) + slope**2 * var_lam(alpha)
    for knots in ([0, 0.5, 1], PLAIN, STEEP):
        values = c + slope * np.abs(np.array(knots) - 0.5)
        assert expected_square(path(knots, values[:, None]), alpha)[0] == pytest.approx(wanted, rel=2e-12)
        pure = expected_square(path(knots, values[:, None] - c), alpha)[0]
        assert pure == pytest.approx(slope**2 * var_lam(alpha), rel=2e-12)


def test_segments_outputs_and_alphas_are_independent() -> None:
    rng = np.random.default_rng(1)
    parts = [path([0, *np.sort(rng.random(k)), 1], rng.normal(size=(k + 2, 3))) for k in (0, 3, 1, 5)]
    together = SegmentPaths(
        np.concatenate([p.knots for p in parts]),
        np.concatenate([p.values for p in parts]),
        np.cumsum([0, *(len(p.knots) for p in parts)]),
    )
    alphas = [0.0, 1e-3, 0.7, 1.0, 5.0, 300.0, np.inf]
    table = expected_square(together, alphas)
    assert table.shape == (7, 4)
    for row, alpha in zip(table, alphas, strict=True):
        for got, part in zip(row, parts, strict=True):
            single = sum(expected_square(path(part.knots, part.values[:, [c]]), alpha)[0] for c in range(3))
            assert got == pytest.approx(single, rel=1e-12)


def test_the_product_is_the_polarised_square() -> None:
    rng = np.random.default_rng(2)
    f, g = (path(PLAIN, rng.normal(size=(9, 2))) for _ in range(2))
    both = path(PLAIN, f.values + g.values)
    for alpha in (0.0, 0.2, 1.0, 9.0, 500.0, np.inf):
        polarised = (expected_square(both, alpha) - expected_square(f, alpha) - expected_square(g, alpha)) / 2
        np.testing.assert_allclose(expected_product(f, g, alpha), polarised, rtol=1e-11)
    with pytest.raises(ValueError, match="`second` must have the knots"):
        expected_product(f, path(STEEP, g.values), 1.0)


def test_limits_are_continuous() -> None:
    p = path(PLAIN, np.random.default_rng(3).normal(size=(9, 1)))
    ends = (p.values[0, 0] ** 2 + p.values[-1, 0] ** 2) / 2
    assert expected_square(p, 0.0)[0] == ends
    assert expected_square(p, 1e-12)[0] == pytest.approx(ends, rel=1e-10)
    assert expected_square(p, np.inf)[0] == pytest.approx(p.values[5, 0] ** 2, rel=1e-15)
    assert expected_square(p, 1e14)[0] == pytest.approx(p.values[5, 0] ** 2, rel=1e-5)


@pytest.mark.parametrize("knots", [[0, 1], [0, 0.5, 1], PLAIN], ids=["line", "kink", "many"])
def test_the_slope_at_zero(knots: list) -> None:
    """Against mpmath's integral of D.8, and the remainder falls as alpha squared."""
    values = np.random.default_rng(4).normal(size=len(knots))
    p = path(knots, values[:, None])

    def integrand(t: mp.mpf) -> mp.mpf:
        k = max(i for i in range(len(knots) - 1) if knots[i] <= t)
        r = values[k] + (t - knots[k]) / (knots[k + 1] - knots[k]) * (values[k + 1] - values[k])
        return (r**2 - t * values[-1] ** 2 - (1 - t) * values[0] ** 2) / (2 * t * (1 - t))

    assert small_alpha_slope(p)[0] == pytest.approx(float(mp.quad(integrand, knots)), rel=1e-10)
    alphas = np.array([1e-3, 1e-4, 1e-5])
    remainder = expected_square(p, alphas)[:, 0] - expected_square(p, 0.0) - alphas * small_alpha_slope(p)
    rates = np.diff(np.log(np.abs(remainder))) / np.diff(np.log(alphas))
    np.testing.assert_allclose(rates, 2, atol=0.1)


def test_the_slope_at_infinity() -> None:
    knots = [0, 0.3, 0.8, 1]
    p = path(knots, np.random.default_rng(6).normal(size=(4, 2)))
    alphas = np.array([1e3, 1e4, 1e5])
    change = (expected_square(p, alphas)[:, 0] - expected_square(p, np.inf)) * (2 * alphas + 1)
    np.testing.assert_allclose(change, large_alpha_slope(p)[0], rtol=1e-9)
    bend = path([0, 0.5, 1], [[1.0], [0.0], [2.0]])  # kink at 1/2 where R = 0: the mean of both slopes counts
    assert large_alpha_slope(bend)[0] == (4 + 16) / 8
    got = expected_square(bend, 1e5)[0] * (2e5 + 1)
    assert got == pytest.approx((4 + 16) / 8, rel=1e-11)
    assert large_alpha_slope(path([0, 0.5, 1], [[1.0], [0.5], [2.0]]))[0] == np.inf
    assert large_alpha_slope(path([0, 0.5, 1], [[-1.0], [0.5], [-2.0]]))[0] == -np.inf


@pytest.mark.parametrize("alpha", [-1.0, float("nan"), "1", [[1.0]]])
def test_bad_alpha(alpha: object) -> None:
    with pytest.raises(ValueError, match="`alpha` must be"):
        expected_square(path([0, 1], [[0.0], [1.0]]), alpha)  # type: ignore[arg-type]
