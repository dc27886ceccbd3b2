"""Exact mixup risks against mpmath quadrature pair by pair, hand cases and the hard-label form."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

from mixup_theory.logistic_risk import (
    linear_logits,
    logistic_risk,
    mixup_logistic_gap,
    mixup_logistic_risk,
    mixup_risk,
    single_label_risk,
    small_alpha_coefficient,
)

X = np.array([[1.0, 0.4], [-0.6, 1.3], [0.2, -1.1], [1.7, -0.5], [-1.4, -0.2], [-0.3, 0.8]])
Y = np.array([1, 0, 1, 1, 0, 0])
THETA = np.array([1.5, -0.7])


def naive_gap(x, y, theta, alpha, intercept):
    """Double loop over pairs; singularity-free tanh-sinh quadrature in high precision."""
    with mpmath.workdps(25):
        z, a = [mpmath.mpf(float(v)) for v in x @ theta + intercept], mpmath.mpf(alpha)

        def loss(t, i, j):
            f, label = t * z[i] + (1 - t) * z[j], t * int(y[i]) + (1 - t) * int(y[j])
            return mpmath.log1p(mpmath.exp(f)) - label * f

        total = mpmath.mpf(0)
        for i in range(len(z)):
            for j in range(len(z)):
                if i == j:
                    continue
                ends = loss(1, i, j), loss(0, i, j)
                bulge = mpmath.quad(
                    lambda t, i=i, j=j, ends=ends: (
                        (loss(t, i, j) - t * ends[0] - (1 - t) * ends[1]) * (t * (1 - t)) ** (a - 1)
                    ),
                    [0, 0.5, 1],
                )
                total += bulge / mpmath.beta(a, a)
        return float(total / len(z) ** 2)


@pytest.mark.parametrize(("alpha", "intercept"), [(0.2, 0.8), (1.0, 0.0), (7.0, -0.4)])
def test_gap_is_the_integral_over_all_pairs(alpha, intercept):
    x, y = X[:4], Y[:4]
    exact = naive_gap(x, y, THETA, alpha, intercept)
    assert mixup_logistic_gap(x, y, THETA, alpha, intercept) == pytest.approx(exact, rel=1e-12)
    risk = mixup_logistic_risk(x, y, THETA, alpha, intercept)
    assert risk == pytest.approx(exact + logistic_risk(x, y, THETA, intercept), rel=1e-13)


def test_gap_at_the_limits_and_at_extremes():
    assert mixup_logistic_gap(X, Y, THETA, 0.0) == 0
    middle_x, middle_y = (X[:, None] + X).reshape(-1, 2) / 2, (Y[:, None] + Y).reshape(-1) / 2
    at_infinity = logistic_risk(middle_x, middle_y, THETA, 0.3)
    assert mixup_logistic_risk(X, Y, THETA, math.inf, 0.3) == pytest.approx(at_infinity, rel=1e-14)
    assert mixup_logistic_risk(X, Y, THETA, 1e6, 0.3) == pytest.approx(at_infinity, rel=1e-6)
    alphas = np.array([[1e-8, 1e-4, 0.3], [1.0, 50.0, 1e6]])
    gaps = mixup_logistic_gap(X, Y, THETA, alphas)
    assert gaps.shape == (2, 3)
    np.testing.assert_array_equal(gaps.reshape(-1), [mixup_logistic_gap(X, Y, THETA, a) for a in alphas.reshape(-1)])
    slope = small_alpha_coefficient(X, Y, THETA)
    assert gaps[0, 0] / 1e-8 == pytest.approx(slope, rel=1e-7)
    assert isinstance(mixup_logistic_risk(X, Y, THETA, 1.0), float)


def test_printed_small_alpha_coefficient():
    """Theory E.4: 1.034593521 on the six points with logits of a few units."""
    assert small_alpha_coefficient(X, Y, 3 * THETA) == pytest.approx(1.034593521, rel=1e-9)


def test_the_default_rule_has_enough_nodes_for_wide_logits():
    for scale in (1.0, 10.0, 40.0):
        default = mixup_logistic_gap(X, Y, scale * THETA, 0.3)
        assert default == pytest.approx(mixup_logistic_gap(X, Y, scale * THETA, 0.3, num_nodes=1200), rel=1e-13)
    with pytest.raises(ValueError, match="`theta` must give logits within a range of 200"):
        mixup_logistic_gap(X, Y, 100 * THETA, 0.3)


def test_general_risk_of_a_linear_logit_is_the_linear_risk():
    for alpha in (0.0, 1e-3, 0.4, 3.0, math.inf):
        general = mixup_risk(lambda x: x @ THETA + 0.8, X, Y, alpha)
        assert general == pytest.approx(mixup_logistic_risk(X, Y, THETA, alpha, 0.8), rel=1e-13)


def test_hard_labels_under_the_size_biased_law_give_the_same_risk():
    """And they do not for a loss that is not affine in the label, see theory C.1."""

    def logit(x):
        return 1.7 * np.tanh(0.8 * x - 0.3) + 0.4 * x**2

    x, y = [-1.3, 0.2, 0.9, 2.1], [0, 1, 0, 1]
    assert mixup_risk(logit, x, y, 1.0) == pytest.approx(0.64843775884140690653, rel=1e-13)
    for alpha in (0.0, 1e-6, 0.3, 1.0, 3.0, math.inf):
        single = single_label_risk(logit, x, y, alpha)
        assert single == pytest.approx(mixup_risk(logit, x, y, alpha), rel=1e-13)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X[:, 0], Y, THETA, 1.0), "`x` must be"),
        ((X, Y[:3], THETA, 1.0), "`y` must have one label"),
        ((X, 2 * Y, THETA, 1.0), r"`y` must be in \[0, 1\], got 2"),
        ((X, Y, THETA[:1], 1.0), "`theta` must be of shape"),
        ((X, Y, [1.0, math.nan], 1.0), "`theta` must be"),
        ((X, Y, THETA, -1.0), "`alpha` must be"),
        ((X, Y, THETA, 1.0, math.inf), "`intercept` must be"),
        ((X, Y, THETA, 1.0, 0.0, 0), "`num_nodes` must be"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        mixup_logistic_risk(*arguments)


def test_a_logit_of_the_wrong_shape_is_refused():
    for risk in (mixup_risk, single_label_risk):
        with pytest.raises(ValueError, match="`logit` must return one logit per point"):
            risk(lambda x: x, X, Y, 1.0)
    np.testing.assert_allclose(linear_logits(X, Y, THETA, 0.5)[0], X @ THETA + 0.5)
