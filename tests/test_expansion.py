"""Expansions against enumeration of their definitions, and their orders by regression."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit

from mixup_theory.expansion import (
    EXPANSIONS,
    Expansion,
    carratino_reformulation,
    carratino_terms,
    expansion_order,
    midpoint_terms,
    size_biased_terms,
    zhang_terms,
)
from mixup_theory.logistic_risk import logistic_risk, mixup_logistic_gap, mixup_logistic_risk
from mixup_theory.quadrature import gauss_rule, gauss_rule_between
from mixup_theory.weights import size_biased_moment

X = np.array([[1.0, 0.4], [-0.6, 1.3], [0.2, -1.1], [1.7, -0.5], [-1.4, -0.2], [-0.3, 0.8]])
Y = np.array([1, 0, 1, 1, 0, 0])
THETA = np.array([1.5, -0.7])


def softplus(z):
    return np.logaddexp(0, z)


def taylor(reference_z, reference_y, mean_gaps):
    """Second-order Taylor average of h(z) - y z around a point, from the moments (dz, dz^2, dz dy, dy)."""
    dz, dz2, dzdy, dy = mean_gaps
    s = expit(reference_z)
    value = softplus(reference_z) - reference_y * reference_z
    return value + (s - reference_y) * dz + s * (1 - s) * dz2 / 2 - dzdy - reference_z * dy


def enumerate_expansion(name, alpha, intercept):
    """Expand every pair at its reference point by brute force over nodes in lam."""
    z, y, n = X @ THETA + intercept, Y.astype(float), len(Y)
    if name == "carratino":  # the larger weight
        nodes, weights = gauss_rule_between(0.5, 1.0, alpha, 40)
        weights = 2 * weights
    else:
        nodes, weights = gauss_rule(12, alpha)
    if name in {"zhang", "size-biased"}:
        weights = 2 * nodes * weights
    total = 0.0
    mean_weight = weights @ nodes
    for i in range(n):
        for j in range(n):
            mixed_z, mixed_y = nodes * z[i] + (1 - nodes) * z[j], nodes * y[i] + (1 - nodes) * y[j]
            if name in {"zhang", "size-biased"}:
                mixed_y = np.full_like(nodes, y[i])
            if name == "zhang":
                rz, ry = z[i], y[i]
            elif name == "size-biased":
                rz, ry = z.mean() + mean_weight * (z[i] - z.mean()), y[i]
            elif name == "carratino":
                rz = z.mean() + mean_weight * (z[i] - z.mean())
                ry = y.mean() + mean_weight * (y[i] - y.mean())
            else:
                rz, ry = (z[i] + z[j]) / 2, (y[i] + y[j]) / 2
            dz, dy = mixed_z - rz, mixed_y - ry
            total += taylor(rz, ry, [weights @ dz, weights @ dz**2, weights @ (dz * dy), weights @ dy]) / n**2
    return total


@pytest.mark.parametrize("name", EXPANSIONS)
@pytest.mark.parametrize(("alpha", "intercept"), [(0.2, 0.0), (1.0, 0.8), (5.0, -0.3)])
def test_every_expansion_is_its_taylor_polynomial(name, alpha, intercept):
    value = EXPANSIONS[name](X, Y, THETA, alpha, intercept).total
    assert value == pytest.approx(enumerate_expansion(name, alpha, intercept), rel=1e-12)


def test_printed_absolute_errors():
    """Theory E.4 at epsilon = 1, alpha = 1, b = 0."""
    exact = mixup_logistic_risk(X, Y, THETA, 1.0)
    printed = {"zhang": 0.0259, "carratino": 0.0020, "size-biased": 0.0060, "midpoint": 0.0038}
    for name, error in printed.items():
        assert abs(EXPANSIONS[name](X, Y, THETA, 1.0).total - exact) == pytest.approx(error, abs=5e-5)


@pytest.mark.parametrize("name", EXPANSIONS)
@pytest.mark.parametrize(("alpha", "intercept"), [(1.0, 0.0), (4.0, 0.8), (0.3, -0.6)])
def test_order_of_the_error_by_regression(name, alpha, intercept):
    """Mean absolute error over random data sets and weights, log-log slope against the stated order."""
    rng = np.random.default_rng(5)
    scales = 2.0 ** -np.arange(4.0, 8.0)
    errors = np.zeros(len(scales))
    for _ in range(40):
        x, y, theta = rng.normal(size=(8, 2)), rng.integers(0, 2, 8), rng.normal(size=2)
        for k, scale in enumerate(scales):
            gap = EXPANSIONS[name](x, y, scale * theta, alpha, intercept).total
            gap -= logistic_risk(x, y, scale * theta, intercept)
            errors[k] += abs(gap - mixup_logistic_gap(x, y, scale * theta, alpha, intercept))
    slope = np.polyfit(np.log(scales), np.log(errors), 1)[0]
    assert slope == pytest.approx(expansion_order(name, with_intercept=intercept != 0), abs=0.1)


def test_terms_at_the_limits():
    erm = logistic_risk(X, Y, THETA, 0.8)
    middle = mixup_logistic_risk(X, Y, THETA, math.inf, 0.8)
    assert midpoint_terms(X, Y, THETA, math.inf, 0.8).total == pytest.approx(middle, rel=1e-14)
    for name in ("zhang", "carratino", "size-biased"):
        at_zero = EXPANSIONS[name](X, Y, THETA, 0.0, 0.8)
        assert at_zero.total == pytest.approx(erm, rel=1e-14)
        assert all(term == pytest.approx(0, abs=1e-16) for term in at_zero.terms.values())


@pytest.mark.parametrize("name", EXPANSIONS)
def test_arrays_of_alpha_broadcast_and_stay_finite(name):
    alphas = np.array([[0.0, 1e-8, 0.2], [1.0, 1e6, math.inf]])
    many = EXPANSIONS[name](X, Y, THETA, alphas, 0.3)
    assert many.total.shape == np.shape(many.reference) == (2, 3)
    for index in np.ndindex(2, 3):
        one = EXPANSIONS[name](X, Y, THETA, alphas[index], 0.3)
        assert isinstance(one.total, float)
        assert many.total[index] == pytest.approx(one.total, rel=1e-15)
        for term in one.terms:
            assert many.terms[term][index] == pytest.approx(one.terms[term], rel=1e-15)
    assert np.all(np.isfinite(many.total))
    near = EXPANSIONS[name](X, Y, THETA, 1e7, 0.3).total
    assert near == pytest.approx(many.total[1, 2], rel=1e-3)


def test_expansion_points_are_not_mixed_up():
    """Zhang has no shrinkage, Carratino no first-order term; adding R1 and R2 to shrunk data is far off."""
    exact = mixup_logistic_risk(X, Y, THETA, 1.0)
    zhang, carratino = zhang_terms(X, Y, THETA, 1.0), carratino_terms(X, Y, THETA, 1.0)
    both = Expansion(carratino.reference, zhang.terms).total
    assert abs(both - exact) > 5 * max(abs(zhang.total - exact), abs(carratino.total - exact))


def test_moments_of_the_size_biased_weight_are_those_used():
    for alpha in (0.2, 1.0, 6.0):
        one, two = size_biased_moment(0, 1, alpha), size_biased_moment(0, 2, alpha)
        small = zhang_terms(X, Y, 1e-9 * THETA, alpha)
        z = 1e-9 * X @ THETA
        assert small.terms["R1"] == pytest.approx(one * np.mean((expit(z) - Y) * (z.mean() - z)), rel=1e-12)
        assert two == pytest.approx(one / 2, rel=1e-14)
        unit = size_biased_terms(X, Y, 1e-9 * THETA, alpha).terms["inputs"] / z.var() / 0.125
        assert unit == pytest.approx(two + size_biased_moment(2, 0, alpha) - (1 - one) ** 2, rel=1e-8)


def test_reformulation_has_the_covariances_of_the_perturbed_data():
    """Enumerate the larger weight and the partner: mean zero, and the stated joint covariance."""
    y = np.array([0.3, -1.0, 2.0, 0.0, 1.1, 0.4])
    for alpha in (0.3, 1.0, 6.0):
        nodes, weights = gauss_rule_between(0.5, 1.0, alpha, 40)
        data = np.column_stack([X, y])
        perturbed = carratino_reformulation(X, y, alpha)
        shrunk = np.column_stack([perturbed.inputs, perturbed.labels])
        for i in range(len(y)):
            mixed = nodes[:, None, None] * data[i] + (1 - nodes)[:, None, None] * data
            noise = (mixed - shrunk[i]).reshape(-1, 3)
            mass = np.repeat(2 * weights, len(y)) / len(y)
            np.testing.assert_allclose(mass @ noise, 0, atol=1e-13)
            joint = (mass[:, None] * noise).T @ noise
            np.testing.assert_allclose(perturbed.input_covariance[i], joint[:2, :2], rtol=1e-10, atol=1e-13)
            np.testing.assert_allclose(perturbed.cross_covariance[i], joint[:2, 2], rtol=1e-10, atol=1e-13)
            assert perturbed.label_covariance[i] == pytest.approx(joint[2, 2], rel=1e-10)


def test_reformulation_is_exact_for_a_linear_model_with_squared_loss():
    y = np.array([0.3, -1.0, 2.0, 0.0, 1.1, 0.4])
    for alpha in (0.0, 0.3, 2.0, math.inf):
        p = carratino_reformulation(X, y, alpha)
        quadratic = (
            (p.labels - p.inputs @ THETA - 0.2) ** 2
            + np.einsum("nkl,k,l->n", p.input_covariance, THETA, THETA)
            - 2 * p.cross_covariance @ THETA
            + p.label_covariance
        ).mean()
        nodes, weights = gauss_rule(3, alpha)
        residual = y - X @ THETA - 0.2
        exact = sum(
            w * np.mean((t * residual[:, None] + (1 - t) * residual) ** 2) for t, w in zip(nodes, weights, strict=True)
        )
        assert quadratic == pytest.approx(exact, rel=1e-12)


def test_bad_input_is_refused():
    for function in EXPANSIONS.values():
        with pytest.raises(ValueError, match="`alpha` must be"):
            function(X, Y, THETA, -1.0)
        with pytest.raises(ValueError, match="`theta` must be of shape"):
            function(X, Y, [1.0], 1.0)
        with pytest.raises(ValueError, match="`y` must be"):
            function(X, Y - 1, THETA, 1.0)
    with pytest.raises(ValueError, match="`name` must be one of zhang"):
        expansion_order("taylor", with_intercept=True)
    with pytest.raises(ValueError, match="`y` must have one label"):
        carratino_reformulation(X, [1.0], 1.0)
