"""Third and fourth moments of mixed pairs against enumeration."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from scipy.optimize import minimize_scalar

from mixup_theory.higher_moments import (
    derive_mixed_kurtosis,
    mixed_excess_kurtosis,
    mixed_fourth_moment,
    mixed_third_moment,
)
from mixup_theory.laws import Beta, Fixed
from mixup_theory.quadrature import gauss_rule

VALUES, CHANCE = np.array([-1.0, 0.2, 3.0]), np.array([0.5, 0.3, 0.2])
CENTRED = VALUES - CHANCE @ VALUES


def enumerated(power, nodes, weights):
    z = nodes[:, None, None] * CENTRED[:, None] + (1 - nodes)[:, None, None] * CENTRED
    return np.einsum("w,i,j,wij->", weights, CHANCE, CHANCE, z**power)


def central(power):
    return CHANCE @ CENTRED**power


@pytest.mark.parametrize("alpha", [1e-8, 0.2, 1.0, 4.0, 1e6])
def test_moments_equal_enumeration(alpha):
    rule = gauss_rule(3, alpha)
    second, fourth = enumerated(2, *rule), enumerated(4, *rule)
    np.testing.assert_allclose(mixed_third_moment(central(3), alpha), enumerated(3, *rule), rtol=1e-12)
    np.testing.assert_allclose(mixed_fourth_moment(central(4), central(2), alpha), fourth, rtol=1e-12)
    kurtosis = central(4) / central(2) ** 2
    np.testing.assert_allclose(mixed_excess_kurtosis(alpha, kurtosis), fourth / second**2 - 3, rtol=1e-11)


@pytest.mark.parametrize("lam", [0.2, 1.4])
def test_fixed_weight(lam):
    rule = np.array([lam]), np.array([1.0])
    np.testing.assert_allclose(mixed_third_moment(central(3), Fixed(lam)), enumerated(3, *rule), rtol=1e-12)
    np.testing.assert_allclose(
        mixed_fourth_moment(central(4), central(2), Fixed(lam)), enumerated(4, *rule), rtol=1e-12
    )


def test_printed_forms():
    a = np.array([0.05, 0.6, 1.0, 7.0])
    np.testing.assert_allclose(mixed_third_moment(1.0, a), (a + 2) / (2 * (2 * a + 1)), rtol=1e-13)
    np.testing.assert_allclose(
        mixed_fourth_moment(5.0, 2.0, a),
        ((a + 2) * (a + 3) * 5 + 3 * a * (a + 1) * 4) / (2 * (2 * a + 1) * (2 * a + 3)),
        rtol=1e-13,
    )
    np.testing.assert_allclose(mixed_excess_kurtosis(a), 3 * a / ((a + 1) ** 2 * (2 * a + 3)), rtol=1e-13)


def test_gaussian_excess_is_largest_where_printed():
    best = minimize_scalar(lambda a: -mixed_excess_kurtosis(a), bounds=(0.01, 5), options={"xatol": 1e-10})
    np.testing.assert_allclose(best.x, (57**0.5 - 3) / 8, rtol=1e-6)
    assert round(-best.fun, 6) == 0.16757


def test_limits_keep_or_normalise():
    assert mixed_excess_kurtosis(0.0, 5.0) == 2.0
    assert mixed_excess_kurtosis(np.inf, 5.0) == 1.0  # the mean of two: excess halves
    np.testing.assert_allclose(mixed_excess_kurtosis(Beta(0.5), [1.0, 3.0]), mixed_excess_kurtosis(0.5, [1.0, 3.0]))


def test_derivation_ends_in_the_shipped_function():
    result = derive_mixed_kurtosis().verify().result
    alpha, kappa = sp.symbols("alpha kappa", positive=True)
    for a in (0.05, 1.0, 3.7):
        for k in (1.0, 3.0, 9.0):
            np.testing.assert_allclose(
                mixed_excess_kurtosis(a, k), float(result.subs({alpha: a, kappa: k})), rtol=1e-11
            )


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: mixed_excess_kurtosis(1.0, 0.9), "kurtosis"),
        (lambda: mixed_excess_kurtosis(-1.0), "alpha"),
        (lambda: mixed_fourth_moment(-1.0, 1.0, 1.0), "fourth_moment"),
        (lambda: mixed_fourth_moment(1.0, np.nan, 1.0), "variance"),
        (lambda: mixed_third_moment("a", 1.0), "third_moment"),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()
