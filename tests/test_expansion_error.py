"""Error coefficients against the expansions' own errors, enumeration of pairs, and hand cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy as sp

from mixup_theory.expansion import EXPANSIONS, expansion_order
from mixup_theory.expansion_error import derive_cubic_error, error_coefficients
from mixup_theory.logistic_risk import logistic_risk, mixup_logistic_gap
from mixup_theory.moments import size_biased_moment
from mixup_theory.quadrature import gauss_rule_between
from mixup_theory.weights import expected_max_lam

X = np.array([[1.0, 0.4], [-0.6, 1.3], [0.2, -1.1], [1.7, -0.5], [-1.4, -0.2], [0.9, 0.8]])
Y = np.array([1, 0, 1, 1, 0, 0])
THETA = np.array([1.5, -0.7])


def curvature_derivatives(b):
    """Third and fourth derivative of ln(1 + exp b), from tanh(b / 2) = T."""
    t = math.tanh(b / 2)
    return -t * (1 - t**2) / 4, (1 - t**2) * (3 * t**2 - 1) / 8


def measured_error(name, scale, alpha, intercept):
    weights = scale * THETA
    gap = EXPANSIONS[name](X, Y, weights, alpha, intercept).total - logistic_risk(X, Y, weights, intercept)
    return mixup_logistic_gap(X, Y, weights, alpha, intercept) - gap


@pytest.mark.parametrize("name", EXPANSIONS)
@pytest.mark.parametrize(("alpha", "intercept"), [(0.2, 0.0), (1.0, 0.8), (5.0, -0.3), (math.inf, 2.0)])
def test_coefficients_are_those_of_the_error(name, alpha, intercept):
    """Fit powers 3 to 7 to the errors at small scales; the first two are the coefficients."""
    scales = np.array([0.05, 0.08, 0.12, 0.17, 0.23, 0.3])
    errors = [measured_error(name, scale, alpha, intercept) for scale in scales]
    fitted = np.linalg.lstsq(scales[:, None] ** np.arange(3, 8) / scales[:, None] ** 3, errors / scales**3, rcond=None)[
        0
    ]
    got = error_coefficients(name, X, THETA, alpha, intercept)
    size = abs(got.cubic) + abs(got.quartic) + 1e-5
    assert fitted[0] == pytest.approx(got.cubic, abs=2e-4 * size)
    assert fitted[1] == pytest.approx(got.quartic, abs=2e-2 * size)


@pytest.mark.parametrize(("alpha", "intercept"), [(0.2, 0.0), (1.0, 0.8), (6.0, -1.7)])
def test_carratino_by_enumeration_of_pairs_and_weights(alpha, intercept):
    nodes, weights = gauss_rule_between(0.5, 1.0, alpha, 40)
    mean = expected_max_lam(alpha)
    z = X @ THETA
    reference = z.mean() + mean * (z - z.mean())
    h3, h4 = curvature_derivatives(intercept)
    cubic = quartic = 0.0
    for i in range(len(z)):
        for j in range(len(z)):
            away = nodes * z[i] + (1 - nodes) * z[j] - reference[i]
            cubic += 2 * weights @ away**3 * h3 / 6 / len(z) ** 2
            quartic += 2 * h4 / len(z) ** 2 * (reference[i] * (weights @ away**3) / 6 + weights @ away**4 / 24)
    got = error_coefficients("carratino", X, THETA, alpha, intercept)
    assert got.cubic == pytest.approx(cubic, rel=1e-11, abs=1e-18)
    assert got.quartic == pytest.approx(quartic, rel=1e-11)


def test_zhang_by_hand():
    """By antisymmetry c_4 = h'''' E(z_i - z_j)^4 [E(1 - Lambda)^4 - 2 E(1 - Lambda)^3] / 24, and c_3 = 0."""
    z = X @ THETA
    apart = np.mean((z[:, None] - z) ** 4)
    for alpha in (1e-8, 0.2, 1.0, 1e6):
        third, fourth = size_biased_moment(0, 3, alpha), size_biased_moment(0, 4, alpha)
        expected = curvature_derivatives(0.8)[1] * apart * (fourth - 2 * third) / 24
        got = error_coefficients("zhang", X, THETA, alpha, 0.8)
        assert got.quartic == pytest.approx(expected, rel=1e-10)
        assert got.cubic == pytest.approx(0, abs=1e-17)


def test_midpoint_by_hand():
    """c_4 = h'''' E(z_i - z_j)^4 E(lam - 1/2)^4 / 24 with E(lam - 1/2)^4 = 3 / (16 (2 alpha + 1)(2 alpha + 3))."""
    z = X @ THETA
    apart = np.mean((z[:, None] - z) ** 4)
    for alpha in (1e-8, 0.2, 1.0, 50.0):
        fourth = 3 / (16 * (2 * alpha + 1) * (2 * alpha + 3))
        expected = curvature_derivatives(0.8)[1] * apart * fourth / 24
        got = error_coefficients("midpoint", X, THETA, alpha, 0.8)
        assert got.quartic == pytest.approx(expected, rel=1e-10)
        assert got.cubic == pytest.approx(0, abs=1e-17)


def test_coefficients_agree_with_the_stated_order():
    for name in EXPANSIONS:
        cubic = error_coefficients(name, X, THETA, 1.0, 0.8).cubic
        assert (abs(cubic) > 1e-4) == (expansion_order(name, with_intercept=True) == 3)
        assert error_coefficients(name, X, THETA, 1.0).cubic == 0


def test_cubic_term_vanishes_for_logits_without_skew():
    symmetric = np.array([[1.0], [-1.0], [2.5], [-2.5]])
    for name in EXPANSIONS:
        assert error_coefficients(name, symmetric, [1.3], 0.7, 0.8).cubic == pytest.approx(0, abs=1e-16)


@pytest.mark.parametrize("name", EXPANSIONS)
def test_extreme_concentrations(name):
    at_zero, tiny = (error_coefficients(name, X, THETA, alpha, 0.8) for alpha in (0.0, 1e-8))
    if name != "midpoint":
        assert at_zero.at(1.0) == pytest.approx(0, abs=1e-16)
        small = error_coefficients(name, X, THETA, 1e-4, 0.8)
        assert tiny.at(1.0) / 1e-8 == pytest.approx(float(small.at(1.0)) / 1e-4, rel=1e-2)
    large, limit = (error_coefficients(name, X, THETA, alpha, 0.8) for alpha in (1e6, math.inf))
    assert large.at([0.5, 1.0]) == pytest.approx(limit.at([0.5, 1.0]), rel=1e-2, abs=1e-11)


def test_derivation_ends_in_the_shipped_numbers():
    derivation = derive_cubic_error().verify()
    term = derivation.steps[1].expression.rhs
    term = sp.lambdify(sorted(term.free_symbols, key=str), term)  # h_3, m_3, p, r
    z = X @ THETA
    known = curvature_derivatives(0.8)[0], np.mean((z - z.mean()) ** 3)
    assert derivation.result == 0 == term(*known, -0.5, 0.5)
    # alpha = inf: the larger weight is 1/2, so that p = 0 and r = 1/2
    got = error_coefficients("carratino", X, THETA, math.inf, 0.8).cubic
    assert got == pytest.approx(term(*known, 0.0, 0.5), rel=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "taylor"}, "`name` must be"),
        ({"alpha": -1.0}, "`alpha` must be"),
        ({"alpha": [1.0, 2.0]}, "`alpha` must be one number"),
        ({"x": [1.0, 2.0]}, "`x` must"),
        ({"theta": [1.0]}, "`theta` must be of shape"),
        ({"intercept": float("nan")}, "`intercept` must"),
    ],
)
def test_bad_input(change, message):
    arguments = {"name": "zhang", "x": X, "theta": THETA, "alpha": 1.0, "intercept": 0.0} | change
    with pytest.raises(ValueError, match=message):
        error_coefficients(**arguments)
