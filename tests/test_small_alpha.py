"""Slopes at alpha = 0 against finite small alpha and the printed example."""

from __future__ import annotations

import numpy as np
import pytest

from mixup_theory.expansion import EXPANSIONS
from mixup_theory.logistic_risk import logistic_risk, mixup_logistic_gap, small_alpha_coefficient
from mixup_theory.small_alpha import derive_moment_slope, small_alpha_relative_errors, small_alpha_slopes
from mixup_theory.weights import size_biased_moment

X = np.array([[1.0, 0.4], [-0.6, 1.3], [0.2, -1.1], [1.7, -0.5], [-1.4, -0.2], [-0.3, 0.8]])
Y = np.array([1, 0, 1, 1, 0, 0])
THETA = 3 * np.array([1.5, -0.7])


def test_printed_relative_errors():
    """Theory E.4: 75.2 % for R1 + R2, 14.5 % for Carratino's expansion; Taylor slope 0.257053574."""
    errors = small_alpha_relative_errors(X, Y, THETA)
    assert errors["zhang"] == pytest.approx(-0.752, abs=5e-4)
    assert errors["carratino"] == pytest.approx(-0.145, abs=5e-4)
    assert small_alpha_slopes(X, Y, THETA)["zhang"] == pytest.approx(0.257053574, rel=1e-8)


@pytest.mark.parametrize("intercept", [0.0, 0.8])
@pytest.mark.parametrize("name", ["zhang", "carratino", "size-biased"])
def test_slopes_are_the_limits_of_the_expansions(name, intercept):
    alpha = 1e-6
    gap = EXPANSIONS[name](X, Y, THETA, alpha, intercept).total - logistic_risk(X, Y, THETA, intercept)
    slope = small_alpha_slopes(X, Y, THETA, intercept)[name]
    assert gap / alpha == pytest.approx(slope, rel=1e-4)
    error = small_alpha_relative_errors(X, Y, THETA, intercept)[name]
    exact = mixup_logistic_gap(X, Y, THETA, alpha, intercept)
    assert gap / exact - 1 == pytest.approx(error, abs=1e-4)
    assert error == pytest.approx(slope / small_alpha_coefficient(X, Y, THETA, intercept) - 1, rel=1e-12)


def test_every_taylor_order_contributes_at_first_order_in_alpha():
    for k in (1, 2, 3, 7):
        assert size_biased_moment(0, k, 1e-7) / 1e-7 == pytest.approx(1 / k, rel=1e-5)


def test_moment_slope_is_derived():
    derivation = derive_moment_slope().verify()
    alpha, k = sorted(derivation.steps[0].expression.free_symbols, key=str)
    for order in (1, 2, 5):
        moment = derivation.steps[1].expression.subs({alpha: 0.3, k: order})
        assert float(moment) == pytest.approx(size_biased_moment(0, order, 0.3), rel=1e-13)
        slope = float(derivation.result.subs(k, order))
        assert size_biased_moment(0, order, 1e-9) == pytest.approx(1e-9 * slope, rel=1e-7)


def test_errors_vanish_with_the_displacement():
    errors = [small_alpha_relative_errors(X, Y, scale * THETA) for scale in (0.3, 0.03)]
    for name in errors[0]:
        assert abs(errors[1][name]) < abs(errors[0][name]) / 20


def test_constant_logits_have_no_relative_error():
    with pytest.raises(ValueError, match="`theta` must give a risk that changes with alpha"):
        small_alpha_relative_errors(X, Y, [0.0, 0.0])
    with pytest.raises(ValueError, match="`y` must have one label"):
        small_alpha_slopes(X, Y[:2], THETA)
