"""Expected mixup gradients and the cost of hard labels, against enumeration of every pair and node of lam."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp

from mixup_theory.batch_enumeration import enumerate_partners
from mixup_theory.derivation import DerivationError, Step
from mixup_theory.finite_batch import BATCH_PARTNERS
from mixup_theory.gradients import (
    derive_hard_label_variance,
    derive_linear_regression_gradient,
    expected_mixup_gradient,
    hard_label_extra_variance,
    mixup_gradient_bias,
)
from mixup_theory.laws import Beta, Fixed, LargerBeta
from mixup_theory.quadrature import gauss_rule, gauss_rule_between

ALPHAS = (0.0, 1e-8, 0.2, 1.0, 7.0, 1e6, np.inf)


@pytest.fixture
def data():
    rng = np.random.default_rng(10)
    return rng.normal(1, 2, (4, 3)), rng.normal(-1, 2, 4), rng.normal(size=3)


def over_pairs(n, partner, value):
    """Average value(i, j) over all mixed examples of all equally likely partner maps."""
    pairs = [pair for both in enumerate_partners(n, partner) for pair in zip(*both, strict=True)]
    return np.mean([value(i, j) for i, j in pairs], axis=0)


def brute_gradient(x, y, theta, nodes, weights, partner):
    def value(i, j):
        total = 0.0
        for lam, weight in zip(nodes, weights, strict=True):
            mixed = lam * x[i] + (1 - lam) * x[j]
            total = total + weight * mixed * (mixed @ theta - lam * y[i] - (1 - lam) * y[j])
        return total

    return over_pairs(len(x), partner, value)


@pytest.mark.parametrize("partner", [p for p in BATCH_PARTNERS if p != "resampled"])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_expected_gradient_against_enumeration(data, partner, alpha):
    expected = brute_gradient(*data, *gauss_rule(4, alpha), partner)
    np.testing.assert_allclose(expected_mixup_gradient(*data, alpha, partner=partner), expected, rtol=1e-12)


def test_expected_gradient_for_other_laws(data):
    nodes, weights = gauss_rule_between(0.5, 1.0, 0.7)
    expected = brute_gradient(*data, nodes, 2 * weights, "independent")
    np.testing.assert_allclose(expected_mixup_gradient(*data, LargerBeta(0.7)), expected, rtol=1e-10)
    np.testing.assert_allclose(expected_mixup_gradient(*data, Beta(0.7)), expected, rtol=1e-10)
    fixed = brute_gradient(*data, [1.3], [1.0], "roll")
    np.testing.assert_allclose(expected_mixup_gradient(*data, Fixed(1.3), partner="roll"), fixed, rtol=1e-12)


def test_biases_are_differences_to_their_references(data):
    x, y, theta = data
    erm = x.T @ (x @ theta - y) / len(x)
    at_mean = x.mean(axis=0) * (x.mean(axis=0) @ theta - y.mean())
    np.testing.assert_allclose(expected_mixup_gradient(*data, 0.0), erm, rtol=1e-13)
    for partner in ("independent", "derangement"):
        gradient = expected_mixup_gradient(*data, 0.6, partner=partner)
        bias = mixup_gradient_bias(*data, 0.6, partner=partner)
        np.testing.assert_allclose(bias, gradient - erm, rtol=1e-11)
        bias = mixup_gradient_bias(*data, 0.6, partner=partner, relative_to="mean")
        np.testing.assert_allclose(bias, gradient - at_mean, rtol=1e-11)


def test_bias_keeps_its_digits_for_tiny_alpha(data):
    centred = mixup_gradient_bias(*data, np.inf) / (0.5 - 1)
    shrunk = 1e-8 / (1 + 2e-8)  # 1 - s
    np.testing.assert_allclose(mixup_gradient_bias(*data, 1e-8), -shrunk * centred, rtol=1e-14)


def brute_hard_labels(x, y, nodes, weights, partner):
    """Trace of the covariance, over a drawn label, of the gradient x (p - Y) of a linear softmax model."""
    rows = y.reshape(len(y), -1)
    p = np.linspace(0.1, 0.9, rows.shape[1])  # any prediction gives the same

    def value(i, j):
        total = 0.0
        for lam, weight in zip(nodes, weights, strict=True):
            mixed = lam * x[i] + (1 - lam) * x[j]
            one, two = (np.outer(mixed, p - rows[k]).ravel() for k in (i, j))
            mean = lam * one + (1 - lam) * two
            total += weight * (lam * one @ one + (1 - lam) * two @ two - mean @ mean)
        return total

    return over_pairs(len(x), partner, value)


@pytest.mark.parametrize("partner", ["independent", "permutation", "derangement", "flip", "roll"])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0, 50.0, np.inf])
def test_hard_label_variance_against_enumeration(data, partner, alpha):
    x = data[0]
    rule = gauss_rule(5, alpha)
    for y in (np.array([1.0, 0.0, 1.0, 0.0]), data[1], np.eye(3)[[0, 2, 1, 2]]):
        expected = brute_hard_labels(x, y, *rule, partner)
        got = hard_label_extra_variance(x, y, alpha, partner=partner)
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-15)


def test_hard_label_variance_for_a_fixed_weight_and_the_larger_weight(data):
    x, y = data[0], np.eye(2)[[0, 1, 1, 0]]
    expected = brute_hard_labels(x, y, [0.2], [1.0], "independent")
    np.testing.assert_allclose(hard_label_extra_variance(x, y, Fixed(0.2)), expected, rtol=1e-13)
    larger = hard_label_extra_variance(x, y, LargerBeta(0.4))
    np.testing.assert_allclose(larger, hard_label_extra_variance(x, y, 0.4), rtol=1e-12)


@pytest.mark.parametrize("partner", ["independent", "permutation", "derangement"])
def test_derived_gradient_ends_in_the_shipped_number(data, partner):
    x, y, theta = data
    result = derive_linear_regression_gradient(partner).verify().result
    residual = x @ theta - y
    for alpha in (0.2, 1.0, 4.0):
        got = expected_mixup_gradient(*data, alpha, partner=partner)
        for k in range(x.shape[1]):
            moments = {"x": x[:, k].mean(), "r": residual.mean(), "g": (x[:, k] * residual).mean()}
            value = float(result.subs({"n": len(x), "a": alpha, **moments}))
            np.testing.assert_allclose(got[k], value, rtol=1e-12)


def test_derived_hard_label_variance_ends_in_the_shipped_number():
    result = derive_hard_label_variance().verify().result
    for x_i, x_j, y_i, y_j, a in ((1.5, -2.0, 1.0, 0.0, 0.3), (0.2, 3.0, -1.0, 4.0, 2.0)):
        values = {"x_i": x_i, "x_j": x_j, "y_i": y_i, "y_j": y_j, "a": a}
        got = hard_label_extra_variance([[x_i], [x_j]], [y_i, y_j], a, partner="flip")
        np.testing.assert_allclose(got, float(result.subs(values)), rtol=1e-12)


@pytest.mark.parametrize("partner", ["independent", "derangement"])
def test_a_planted_error_in_a_derivation_is_caught(partner):
    derivation = derive_linear_regression_gradient(partner)
    counted = derivation.steps[1]
    wrong = Step(counted.expression * sp.Rational(1001, 1000), counted.reason, counted.cases)
    with pytest.raises(DerivationError, match="Step 2"):
        replace(derivation, steps=(derivation.steps[0], wrong)).verify()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y, t: expected_mixup_gradient(x, y[:-1], t, 1.0), "`y` and `theta` must have shapes"),
        (lambda x, y, t: expected_mixup_gradient(x, y, t[:-1], 1.0), "`y` and `theta` must have shapes"),
        (lambda x, y, t: expected_mixup_gradient(x, y, t, -1.0), "`alpha` must be"),
        (lambda x, y, t: expected_mixup_gradient(x, y, t, [1.0, 2.0]), "`alpha` must be one number"),
        (lambda x, y, t: expected_mixup_gradient(x, y, t, 1.0, partner="nearest"), "`partner` must be one of"),
        (lambda x, y, t: expected_mixup_gradient(x[:3], y[:3], t, 1.0, partner="flip"), "`n` must be even"),
        (lambda x, y, t: expected_mixup_gradient(x[:1], y[:1], t, 1.0, partner="roll"), "`n` must be"),
        (lambda x, y, t: mixup_gradient_bias(x, y, t, 1.0, relative_to="zero"), "`relative_to` must be one of"),
        (lambda x, y, t: hard_label_extra_variance(x, y[:-1], 1.0), "must have the same length"),
        (lambda x, y, t: hard_label_extra_variance(x * np.nan, y, 1.0), "`x`"),
        (lambda x, y, t: derive_linear_regression_gradient("flip"), "`partner` must be one of"),
    ],
)
def test_bad_input_is_named(data, call, message):
    with pytest.raises(ValueError, match=message):
        call(*data)
