"""The gradient of one mixed pair against exact quadrature of the gradient itself."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy.special import expit

from mixup_theory.pair_gradients import (
    derive_pair_gradient_bias_logistic,
    derive_pair_gradient_covariance,
    derive_pair_gradient_mean,
    pair_gradient_bias_logistic,
    pair_gradient_bias_logistic_leading,
    pair_gradient_covariance,
    pair_gradient_mean,
)
from mixup_theory.quadrature import gauss_rule

PAIR = ([1.2, -0.4], [-0.7, 2.0], 0.9, -1.5, [0.6, 0.25])
CLASSES = (*PAIR[:2], 1.0, 0.0, PAIR[4])


def regression_gradients(lam, x_i, x_j, y_i, y_j, theta):
    mixed = np.outer(lam, x_i) + np.outer(1 - lam, x_j)
    return mixed * (mixed @ np.array(theta) - lam * y_i - (1 - lam) * y_j)[:, None]


@pytest.mark.parametrize("alpha", [0.0, 1e-3, 0.3, 1.0, 5.0, 1e4, np.inf])
def test_mean_and_covariance_against_an_exact_rule(alpha):
    nodes, weights = gauss_rule(6, alpha)
    gradients = regression_gradients(nodes, *PAIR)
    mean = weights @ gradients
    covariance = (gradients - mean).T @ (weights[:, None] * (gradients - mean))
    np.testing.assert_allclose(pair_gradient_mean(*PAIR, alpha), mean, rtol=1e-12)
    np.testing.assert_allclose(pair_gradient_covariance(*PAIR, alpha), covariance, rtol=1e-10, atol=1e-16)


def test_covariance_is_positive_semidefinite_and_vanishes_only_without_mixing():
    for alpha in (0.1, 1.0, 10.0):
        values = np.linalg.eigvalsh(pair_gradient_covariance(*PAIR, alpha))
        assert values[0] > -1e-15
        assert values[1] > 0.01
    same = (PAIR[0], PAIR[0], 0.9, 0.9, PAIR[4])
    assert np.all(pair_gradient_covariance(*same, 1.0) == 0)


def bias_by_mpmath(x_i, x_j, y_i, y_j, theta, alpha):
    """Integrate the gradient less that of the midpoint, at 40 digits; even in lam - 1/2 about the midpoint."""
    with mpmath.workdps(40):
        a = mpmath.mpf(alpha)
        one, two, t = ([mpmath.mpf(v) for v in u] for u in (x_i, x_j, theta))

        def gradient(lam, k):
            mixed = [lam * u + (1 - lam) * w for u, w in zip(one, two, strict=True)]
            margin = sum(u * w for u, w in zip(mixed, t, strict=True))
            return mixed[k] * (1 / (1 + mpmath.exp(-margin)) - lam * y_i - (1 - lam) * y_j)

        def integrate(k):
            half = mpmath.mpf(1) / 2

            # t = lam^a takes the singularity at 0 away; both ends at once by symmetry
            def inner(s):
                lam = s ** (1 / a)
                both = gradient(lam, k) + gradient(1 - lam, k) - 2 * gradient(half, k)
                return both * (1 - lam) ** (a - 1)

            cuts = [0, *(half**a * mpmath.mpf(j) / 8 for j in range(1, 9))]
            return mpmath.quad(inner, cuts) / a / mpmath.beta(a, a)

        return np.array([float(integrate(k)) for k in range(len(x_i))])


@pytest.mark.parametrize("alpha", [0.1, 0.5, 2.0, 30.0])
def test_logistic_bias_against_mpmath(alpha):
    np.testing.assert_allclose(
        pair_gradient_bias_logistic(*CLASSES, alpha), bias_by_mpmath(*CLASSES, alpha), rtol=1e-12
    )


def test_logistic_bias_for_soft_labels_and_a_steep_model():
    steep = ([1.2, -0.4], [-0.7, 2.0], 0.8, 0.3, [30.0, -12.0])
    np.testing.assert_allclose(pair_gradient_bias_logistic(*steep, 1.5), bias_by_mpmath(*steep, 1.5), rtol=1e-10)


def test_logistic_bias_at_the_limits():
    x_i, x_j, y_i, y_j, theta = (np.array(v) for v in CLASSES)
    gradient = lambda lam: (x := lam * x_i + (1 - lam) * x_j) * (expit(x @ theta) - lam * y_i - (1 - lam) * y_j)  # noqa: E731
    expected = (gradient(0.0) + gradient(1.0)) / 2 - gradient(0.5)
    np.testing.assert_allclose(pair_gradient_bias_logistic(*CLASSES, 0.0), expected, rtol=1e-13)
    np.testing.assert_allclose(pair_gradient_bias_logistic(*CLASSES, 1e-10), expected, rtol=1e-8)
    assert np.all(pair_gradient_bias_logistic(*CLASSES, np.inf) == 0)


def test_the_remainder_of_the_leading_term_is_of_second_order():
    alphas = np.array([50.0, 100.0, 200.0, 400.0])
    rest = np.array(
        [pair_gradient_bias_logistic(*CLASSES, a) - pair_gradient_bias_logistic_leading(*CLASSES, a) for a in alphas]
    )
    slopes = np.polyfit(np.log(2 * alphas + 1), np.log(np.abs(rest)), 1)[0]
    np.testing.assert_allclose(slopes, -2, atol=0.02)
    np.testing.assert_allclose(rest[2] * 401**2, [-0.00101, 0.00134], rtol=0.01)


def test_large_alpha_keeps_its_digits():
    leading = pair_gradient_bias_logistic_leading(*CLASSES, 1e6)
    np.testing.assert_allclose(pair_gradient_bias_logistic(*CLASSES, 1e6), leading, rtol=1e-6)


def test_saturated_models_do_not_overflow():
    far = ([900.0], [899.0], 1.0, 0.0, [1.0])
    np.testing.assert_allclose(pair_gradient_bias_logistic(*far, 1.0), [-1 / 12], rtol=1e-12)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 6.0])
def test_derivations_end_in_the_shipped_numbers(alpha):
    x_i, x_j, y_i, y_j, theta = (np.array(v) for v in PAIR)
    x, d, label_gap = (x_i + x_j) / 2, x_i - x_j, y_i - y_j
    m, b = x @ theta, d @ theta
    r, e = m - (y_i + y_j) / 2, b - label_gap
    mean = derive_pair_gradient_mean().result
    covariance = derive_pair_gradient_covariance().result
    leading = derive_pair_gradient_bias_logistic().result
    got = pair_gradient_covariance(*PAIR, alpha)
    for k in (0, 1):
        value = float(mean.subs({"x": x[k], "r": r, "d": d[k], "e": e, "a": alpha}))
        np.testing.assert_allclose(pair_gradient_mean(*PAIR, alpha)[k], value, rtol=1e-12)
        for l in (0, 1):
            values = {"x_k": x[k], "x_l": x[l], "d_k": d[k], "d_l": d[l], "r": r, "e": e, "a": alpha}
            np.testing.assert_allclose(got[k, l], float(covariance.subs(values)), rtol=1e-12)
        values = {"x": x[k], "d": d[k], "m": m, "b": b, "e": label_gap, "a": alpha}
        bias = pair_gradient_bias_logistic_leading(*PAIR, alpha)[k]
        np.testing.assert_allclose(bias, float(leading.subs(values)), rtol=1e-12)


@pytest.mark.parametrize(
    "derive", [derive_pair_gradient_mean, derive_pair_gradient_covariance, derive_pair_gradient_bias_logistic]
)
def test_derivations_verify(derive):
    derive().verify()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0], [1.0, 2.0], 1.0, 0.0, [1.0], 1.0), "must have the same shape"),
        (([1.0], [2.0], 1.0, 0.0, [1.0], -1.0), "`alpha`"),
        (([1.0], [2.0], 1.0, 0.0, [1.0], [1.0, 2.0]), "`alpha` must be one number"),
        (([1.0], [2.0], float("nan"), 0.0, [1.0], 1.0), "`y_i`"),
        (([[1.0]], [2.0], 1.0, 0.0, [1.0], 1.0), "`x_i`"),
    ],
)
@pytest.mark.parametrize(
    "function",
    [pair_gradient_mean, pair_gradient_covariance, pair_gradient_bias_logistic, pair_gradient_bias_logistic_leading],
)
def test_bad_input_is_named(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)


def test_a_model_too_steep_for_the_default_rule_is_refused():
    with pytest.raises(ValueError, match="num_nodes"):
        pair_gradient_bias_logistic([1.0], [0.0], 1.0, 0.0, [2000.0], 1.0)
