"""The adversarial bound: both sides by hand, the worst case by search, and where it must refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit

from mixup_theory.adversarial_link import adversarial_link, adversarial_logistic_risk, adversarial_radius
from mixup_theory.logistic_risk import logistic_risk

RAW = np.array([[1.0, 0.4], [-0.6, 1.3], [0.2, -1.1], [1.7, -0.5], [-1.4, -0.2], [-0.3, 0.8]])
X = RAW - RAW.mean(axis=0)
Y = np.array([1, 0, 1, 1, 0, 0])
THETA = np.array([1.5, -0.7])


def test_radius_is_a_fraction_of_the_distance_to_the_mean_hyperplane():
    distance = np.abs((RAW - RAW.mean(axis=0)) @ THETA) / np.linalg.norm(THETA)
    for alpha, share in ((0.0, 0.0), (1.0, 1 / 3), (math.inf, 0.5)):
        np.testing.assert_allclose(adversarial_radius(RAW, THETA, alpha), share * distance, rtol=1e-13)
        np.testing.assert_allclose(adversarial_radius(RAW, 7 * THETA, alpha), share * distance, rtol=1e-13)


def test_both_sides_by_their_formulas():
    for alpha in (0.0, 1e-8, 0.3, 1.0, 10.0, math.inf):
        away = 0.5 if math.isinf(alpha) else alpha / (2 * alpha + 1)
        z = X @ THETA
        loss, curve = np.logaddexp(0, z) - Y * z, expit(z) * expit(-z)
        left = loss - away * (expit(z) - Y) * z + away / 4 * curve * (np.mean(z**2) + z**2)
        right = loss + np.abs(expit(z) - Y) * away * np.abs(z) + curve * (away * z) ** 2 / 2
        link = adversarial_link(X, Y, THETA, alpha)
        assert link.mixup_loss == pytest.approx(left.mean(), rel=1e-13)
        assert link.adversarial_loss == pytest.approx(right.mean(), rel=1e-13)
        assert link.mixup_loss >= link.adversarial_loss - 1e-15
        pushed = np.logaddexp(0, -(2 * Y - 1) * z + away * np.abs(z)).mean()
        assert link.exact_adversarial_loss == pytest.approx(pushed, rel=1e-13)


def test_bound_holds_on_random_separated_data():
    rng = np.random.default_rng(3)
    for _ in range(200):
        x, theta = rng.normal(size=(7, 3)), rng.normal(size=3) * rng.uniform(0.1, 5)
        x = x - x.mean(axis=0)
        link = adversarial_link(x, x @ theta > 0, theta, rng.uniform(0, 5))
        assert link.mixup_loss >= link.adversarial_loss - 1e-14


def test_worst_case_loss_is_the_maximum_over_the_ball():
    angles = np.linspace(0, 2 * np.pi, 20001)
    ball = np.column_stack([np.cos(angles), np.sin(angles)])
    radius = np.array([0.0, 0.1, 0.5, 1.0, 2.0, 0.3])
    searched = []
    for x, y, r in zip(RAW, Y, radius, strict=True):
        z = (x + r * ball) @ THETA + 0.4
        searched.append(np.max(np.logaddexp(0, z) - y * z))
    exact = adversarial_logistic_risk(RAW, Y, THETA, radius, 0.4)
    assert exact == pytest.approx(np.mean(searched), rel=1e-7)
    assert adversarial_logistic_risk(RAW, Y, THETA, 0.0) == pytest.approx(logistic_risk(RAW, Y, THETA), rel=1e-13)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((RAW, Y, THETA, 1.0), "`x` must be centred"),
        ((X, 1 - Y, THETA, 1.0), "`theta` must classify every point correctly, got 6 errors"),
        ((X, 0.5 * Y, THETA, 1.0), "`y` must be 0 or 1, got 0.5"),
        ((X, Y, [0.0, 0.0], 1.0), "`theta` must not be 0"),
        ((X, Y, THETA, -1.0), "`alpha` must be"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        adversarial_link(*arguments)


def test_bad_radii_are_refused():
    with pytest.raises(ValueError, match="`radius` must be a finite number >= 0"):
        adversarial_logistic_risk(X, Y, THETA, -1.0)
    with pytest.raises(ValueError, match="`radius` must be a number or of shape"):
        adversarial_logistic_risk(X, Y, THETA, [1.0, 2.0])
