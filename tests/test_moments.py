"""Moments of lam against sympy, quadrature and their limits."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import quad
from scipy.stats import beta as beta_law

from mixup_theory import moments

ALPHAS = [1e-8, 1e-3, 0.2, 0.5, 1.0, 2.5, 32.0, 1e6]


def exact(k: int, m: int, alpha: float) -> sp.Rational:
    """Product form in exact rationals."""
    a = sp.Rational(alpha)
    return sp.rf(a, k) * sp.rf(a, m) / sp.rf(2 * a, k + m)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_closed_forms_match_exact_rationals(alpha: float) -> None:
    p, p2 = exact(1, 1, alpha), exact(2, 2, alpha)
    expected = {
        moments.shrink_factor: 1 - 2 * p,
        moments.var_lam: exact(2, 0, alpha) - sp.Rational(1, 4),
        moments.mean_p: p,
        moments.mean_p_squared: p2,
        moments.mean_q_squared: 1 - 4 * p + 4 * p2,
        moments.var_q: 4 * (p2 - p**2),
    }
    for function, value in expected.items():
        assert function(alpha) == pytest.approx(float(value), rel=1e-14), function.__name__


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize(("k", "m"), [(0, 0), (1, 0), (0, 3), (2, 3), (5, 5), (12, 1)])
def test_lam_moment_whole_powers(k: int, m: int, alpha: float) -> None:
    assert moments.lam_moment(k, m, alpha) == pytest.approx(float(exact(k, m, alpha)), rel=1e-13)


def test_lam_moment_real_powers_and_two_concentrations() -> None:
    for k, m, a, b in [(0.5, 1.5, 0.7, 0.7), (-0.2, 0.3, 2.0, 0.9), (3, 1, 2.5, 0.4)]:
        expected, _ = quad(
            lambda t, k=k, m=m, a=a, b=b: t**k * (1 - t) ** m * beta_law.pdf(t, a, b), 0, 1, epsrel=1e-11
        )
        assert moments.lam_moment(k, m, a, b) == pytest.approx(expected, rel=1e-7)


def test_limits_are_values_and_arrays_broadcast() -> None:
    alphas = np.array([0.0, 1.0, np.inf])
    np.testing.assert_allclose(moments.shrink_factor(alphas), [1, 2 / 3, 0.5], rtol=1e-15)
    np.testing.assert_allclose(moments.var_lam(alphas), [0.25, 1 / 12, 0], rtol=1e-15)
    np.testing.assert_allclose(moments.mean_p(alphas), [0, 1 / 6, 0.25], rtol=1e-15)
    np.testing.assert_allclose(moments.mean_p_squared(alphas), [0, 1 / 30, 1 / 16], rtol=1e-15)
    np.testing.assert_allclose(moments.mean_q_squared(alphas), [1, 7 / 15, 0.25], rtol=1e-15)
    np.testing.assert_allclose(moments.var_q(alphas), [0, 1 / 45, 0], rtol=1e-15)
    np.testing.assert_allclose(moments.lam_moment(2, 1, alphas), [0, 1 / 12, 1 / 8], rtol=1e-15)
    np.testing.assert_allclose(moments.lam_moment(3, 0, alphas), [0.5, 0.25, 1 / 8], rtol=1e-15)
    assert moments.lam_moment(0, 0, 0.0) == 1.0


def test_var_q_is_largest_where_the_theory_says() -> None:
    peak = (np.sqrt(33) - 3) / 8
    grid = np.linspace(0.2, 0.5, 2001)
    assert abs(grid[np.argmax(moments.var_q(grid))] - peak) < 2e-4


@pytest.mark.parametrize("alpha", [0.05, 1.0, 8.0])
def test_size_biased_moments_by_quadrature(alpha: float) -> None:
    for k, m in [(1, 0), (0, 1), (2, 0), (0, 2), (3, 2)]:
        expected, _ = quad(lambda t, k=k, m=m: t**k * (1 - t) ** m * beta_law.pdf(t, alpha + 1, alpha), 0, 1, limit=400)
        assert moments.size_biased_moment(k, m, alpha) == pytest.approx(expected, rel=1e-6)
    assert moments.size_biased_moment(1, 0, alpha) == pytest.approx(moments.shrink_factor(alpha), rel=1e-14)


@pytest.mark.parametrize("bad", [-1.0, float("nan"), "one", None, [1.0, -2.0]])
def test_bad_alpha_is_named(bad: object) -> None:
    for function in (moments.shrink_factor, moments.var_q, lambda a: moments.lam_moment(1, 1, a)):
        with pytest.raises(ValueError, match="`alpha` must be a number >= 0"):
            function(bad)


def test_bad_powers_are_named() -> None:
    with pytest.raises(ValueError, match="must be > -alpha"):
        moments.lam_moment(-1.0, 0, 0.5)
    with pytest.raises(ValueError, match="must be >= 0 at alpha = 0"):
        moments.lam_moment(-0.5, 0, float("inf"))


def test_derivations_end_at_the_shipped_functions() -> None:
    a = sp.Symbol("alpha", positive=True)
    for derive, shipped in [
        (moments.derive_shrink_factor, moments.shrink_factor),
        (moments.derive_var_lam, moments.var_lam),
        (moments.derive_var_q, moments.var_q),
    ]:
        result = derive().verify().result
        for value in (0.05, 1.0, 3.7):
            assert float(result.subs(a, sp.Rational(str(value)))) == pytest.approx(shipped(value), rel=1e-14)
