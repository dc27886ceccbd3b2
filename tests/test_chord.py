"""Chord deviations of sines and quadratics: quadrature, mpmath, Monte Carlo over Gaussian pairs, derivations."""

from __future__ import annotations

from collections.abc import Callable

import mpmath as mp
import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from mixup_theory.chord import (
    curvature_bound,
    derive_quadratic_chord,
    derive_sine_chord,
    population_quadratic_deviation,
    quadratic_chord_deviation,
    sine_chord_deviation,
)
from mixup_theory.quadrature import expect

ALPHAS = [1e-8, 1e-3, 0.3, 1.0, 2.5, 30.0, 1e3, 1e6]


def mean_square_deviation(f: Callable[[np.ndarray], np.ndarray], alpha: float) -> float:
    """E Delta^2 of any smooth F, straight from its definition."""
    ends = f(np.array([0.0, 1.0]))
    return expect(lambda t: (f(t) - t * ends[1] - (1 - t) * ends[0]) ** 2, alpha)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("k", [1, 2, 3, 10, 64, 65, 400])
def test_the_sine_is_the_printed_formula(k: int, alpha: float) -> None:
    """The formula of D.6 at 60 digits."""
    with mp.workdps(60):
        a = mp.mpf(alpha)
        wanted = (1 - (-1) ** k * mp.hyp0f1(a + mp.mpf(1) / 2, -((k * mp.pi) ** 2) / 4)) / 2
        rtol = 1e-12 if k <= 64 else 3e-12
        assert sine_chord_deviation(1.0, k, alpha) == pytest.approx(float(wanted), rel=rtol)


def test_more_frequency_can_pay_less() -> None:
    assert sine_chord_deviation(1.0, 1, 3.0) == pytest.approx(0.730984600730, abs=6e-13)
    assert sine_chord_deviation(1.0, 2, 3.0) == pytest.approx(0.514436537546, abs=6e-13)
    assert all(sine_chord_deviation(1.0, k, 1.0) == pytest.approx(0.5, rel=1e-13) for k in (1, 2, 3, 7))


def test_sine_limits_and_shapes() -> None:
    assert [sine_chord_deviation(2.0, k, 0.0) for k in (1, 2)] == [0, 0]
    assert [sine_chord_deviation(2.0, k, np.inf) for k in (1, 2)] == [4, 0]
    table = sine_chord_deviation(np.array([[1.0], [2.0]]), 2, np.array([0.5, 1.0, 3.0]))
    assert table.shape == (2, 3)
    np.testing.assert_allclose(table[1], 4 * table[0], rtol=1e-15)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_quadratic_by_quadrature(alpha: float) -> None:
    direct = mean_square_deviation(lambda t: 3 - 2 * t + 0.95 * t**2, alpha)
    assert quadratic_chord_deviation(1.9, alpha) == pytest.approx(direct, rel=1e-8 if alpha == 1e-8 else 1e-11)
    assert quadratic_chord_deviation(1.9, 0.0) == 0
    assert quadratic_chord_deviation(1.9, np.inf) == pytest.approx((1.9 / 8) ** 2, rel=1e-15)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    st.lists(st.floats(-3, 3), min_size=3, max_size=6),
    st.floats(0.05, 50),
)
def test_no_function_exceeds_the_curvature_bound(coefficients: list[float], alpha: float) -> None:
    polynomial = np.polynomial.Polynomial(coefficients)
    largest = np.abs(polynomial.deriv(2)(np.linspace(0, 1, 4001))).max()
    assert mean_square_deviation(polynomial, alpha) <= curvature_bound(largest, alpha) * (1 + 1e-5) + 1e-25


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    st.lists(st.floats(0, 3), min_size=1, max_size=5),
    st.lists(st.floats(0, 3), min_size=1, max_size=5),
    st.floats(0.05, 50),
)
def test_ordered_convexity_orders_the_deviation(less: list[float], more: list[float], alpha: float) -> None:
    """F_1'' >= F_2'' >= 0 pointwise: polynomials with non-negative coefficients, the one plus another."""
    second = np.polynomial.Polynomial([0, 0, *less])
    first = second + np.polynomial.Polynomial([0, 0, *more])
    assert mean_square_deviation(first, alpha) >= mean_square_deviation(second, alpha) * (1 - 1e-12)


def test_the_bound_is_met_by_quadratics_only() -> None:
    assert curvature_bound(1.9, 2.0) == quadratic_chord_deviation(-1.9, 2.0)
    assert sine_chord_deviation(1.0, 2, 3.0) < curvature_bound((2 * np.pi) ** 2, 3.0)


def test_population_of_gaussian_pairs() -> None:
    """6 standard errors over pairs, the mean over lam exact; and the bracket for an isotropic law."""
    rng = np.random.default_rng(0)
    hessian = np.array([[1.3, -0.4], [-0.4, 0.6]])
    sigma = np.array([[1.0, 0.3], [0.3, 2.0]])
    d = np.diff(rng.multivariate_normal([5, -7], sigma, size=(200_000, 2)), axis=1)[:, 0]
    values = quadratic_chord_deviation(np.einsum("ni,ij,nj->n", d, hessian, d), 0.7)
    exact = population_quadratic_deviation(hessian, sigma, 0.7)
    assert abs(values.mean() - exact) < 6 * values.std() / np.sqrt(len(values))
    laplacian, frobenius = np.trace(hessian), np.sum(hessian**2)
    isotropic = population_quadratic_deviation(hessian, 1.5 * np.eye(2), 0.7)
    ratio = population_quadratic_deviation([[1.0]], [[1.0]], 0.7) / 3
    assert isotropic == pytest.approx(1.5**2 * (laplacian**2 + 2 * frobenius) * ratio, rel=1e-13)


def test_population_by_gauss_hermite() -> None:
    """In one dimension d is N(0, 2 sigma^2) and E d^4 = 12 sigma^4, by a rule exact for polynomials."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    fourth = np.sum(weights * (np.sqrt(2 * 1.7) * nodes) ** 4) / np.sqrt(2 * np.pi)
    direct = quadratic_chord_deviation(0.9, 3.0) * fourth
    assert population_quadratic_deviation([[0.9]], [[1.7]], 3.0) == pytest.approx(direct, rel=1e-12)


def test_the_derivations_end_in_the_shipped_numbers() -> None:
    end = derive_sine_chord().verify().result
    symbols = {str(s): s for s in end.free_symbols}
    for k, alpha in ((1, sp.Rational(3, 10)), (2, sp.Integer(3)), (3, sp.Rational(5, 2)), (4, sp.Integer(40))):
        exact = end.subs({symbols["A"]: 2, symbols["k"]: k, symbols["alpha"]: alpha}).evalf(30)
        assert sine_chord_deviation(2.0, k, float(alpha)) == pytest.approx(float(exact), rel=1e-12)
    end = derive_quadratic_chord().verify().result
    symbols = {str(s): s for s in end.free_symbols}
    for alpha in (sp.Rational(1, 10**6), sp.Rational(3, 10), sp.Integer(7)):
        exact = end.subs({symbols["c"]: sp.Rational(19, 10), symbols["alpha"]: alpha})
        assert quadratic_chord_deviation(1.9, float(alpha)) == pytest.approx(float(exact), rel=1e-13)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sine_chord_deviation(1.0, 0, 1.0), "`frequency` must be a whole number >= 1, got 0"),
        (lambda: sine_chord_deviation(1.0, 1.5, 1.0), "`frequency` must be a whole number"),
        (lambda: sine_chord_deviation(np.nan, 1, 1.0), "`amplitude` must be"),
        (lambda: sine_chord_deviation(1.0, 1, -1.0), "`alpha` must be"),
        (lambda: quadratic_chord_deviation(1.0, "1"), "`alpha` must be"),
        (lambda: quadratic_chord_deviation(np.inf, 1.0), "`second_derivative` must be"),
        (lambda: curvature_bound(-1.0, 1.0), "`max_second_derivative` must be a finite number >= 0"),
        (lambda: population_quadratic_deviation([[1, 2]], [[1]], 1.0), "`hessian` must be square"),
        (lambda: population_quadratic_deviation([[1, 2], [3, 4]], np.eye(2), 1.0), "`hessian` must be symmetric"),
        (lambda: population_quadratic_deviation(np.eye(2), np.eye(3), 1.0), "shape of hessian"),
        (lambda: population_quadratic_deviation(np.eye(2), -np.eye(2), 1.0), "no negative eigenvalue, got -1"),
    ],
)
def test_bad_input(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
