"""Intrusion probabilities against theory F.8's numbers, quadrature, Monte Carlo, moments and limits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import betainc, ndtr
from scipy.stats import beta

from mixup_theory.intrusion import (
    ambiguous_lam_mass,
    collinear_intrusion,
    interval_intrusion,
    region_intrusion,
    sphere_intrusion,
    sphere_radius_cdf,
    sphere_radius_moment,
)
from mixup_theory.moments import shrink_factor
from mixup_theory.weights import sample_lam

ALPHAS = [0.2, 1.0, 4.0]
RNG = np.random.default_rng(0)


def test_printed_values() -> None:
    np.testing.assert_allclose(collinear_intrusion(ALPHAS), [0.171889, 0.5, 0.858887], atol=5.1e-7, rtol=0)
    np.testing.assert_allclose(collinear_intrusion(ALPHAS, 0.1), [0.174390, 0.502538, 0.849743], atol=5.1e-7, rtol=0)


def test_ambiguous_mass() -> None:
    alpha, eta = np.array([[0.05], [1.0], [9.0], [400.0]]), np.array([0.01, 0.1, 0.3, 0.5])
    wanted = betainc(alpha, alpha, 0.5 + eta) - betainc(alpha, alpha, 0.5 - eta)
    np.testing.assert_allclose(ambiguous_lam_mass(alpha, eta), wanted, rtol=1e-12)
    assert ambiguous_lam_mass(1.0, 1e-14) == pytest.approx(2e-14, rel=1e-13)  # where the difference has no digits
    assert ambiguous_lam_mass(1e-8, 0.1) == pytest.approx(1e-8 * np.log(1.2 / 0.8), rel=1e-7)
    assert ambiguous_lam_mass([0.0, 0.0, np.inf, np.inf], [0.4, 0.5, 0.0, 1e-9]).tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("sigma", [1e-9, 1e-3, 0.1, 1.0, 30.0])
@pytest.mark.parametrize("alpha", [0.02, 1.0, 6.0])
def test_collinear_against_quadrature(alpha: float, sigma: float) -> None:
    def inside(lam: float) -> float:
        u, spread = 2 * lam - 1, sigma * np.sqrt(lam**2 + (1 - lam) ** 2)
        return ndtr((0.5 - u) / spread) - ndtr((-0.5 - u) / spread)

    def substituted(z: float) -> float:  # lam = z^(1 / alpha) on [0, 1/2]; symmetric
        lam = z ** (1 / alpha)
        return inside(lam) * (1 - lam) ** (alpha - 1) / alpha

    at = 0.25**alpha
    points = [at * (1 + 4 * k * sigma * alpha) for k in (-8, -2, -1, 0, 1, 2, 8)]
    points = [point for point in points if 0 < point < 0.5**alpha]
    top = quad(substituted, 0, 0.5**alpha, points=points, epsabs=1e-13, epsrel=1e-11, limit=1000)[0]
    bottom = quad(lambda z: (1 - z ** (1 / alpha)) ** (alpha - 1) / alpha, 0, 0.5**alpha, epsabs=1e-13, limit=500)[0]
    assert collinear_intrusion(alpha, sigma) == pytest.approx(top / bottom, rel=1e-8)


def test_collinear_limits_and_scale() -> None:
    assert collinear_intrusion(0.7, 0.3, 1.0) == pytest.approx(collinear_intrusion(0.7, 3.0, 10.0), rel=1e-13)
    assert collinear_intrusion([0.0, np.inf], 0.0).tolist() == [0.0, 1.0]
    wanted = [ndtr(-0.5 / 0.3) - ndtr(-1.5 / 0.3), 2 * ndtr(0.5 / (0.3 * np.sqrt(0.5))) - 1]
    np.testing.assert_allclose(collinear_intrusion([0.0, np.inf], 0.3), wanted, rtol=1e-12)
    np.testing.assert_allclose(collinear_intrusion([1e-8, 1e6], 0.3), wanted, rtol=1e-4)
    np.testing.assert_allclose(collinear_intrusion(ALPHAS, 1e-12), collinear_intrusion(ALPHAS, 0.0), rtol=1e-9)
    assert collinear_intrusion([[0.2], [1.0]], [0.0, 0.1, 0.2]).shape == (2, 3)


def test_interval_with_unequal_classes_by_monte_carlo() -> None:
    rng = np.random.default_rng(6)
    n = 400_000
    for alpha in (0.3, 5.0):
        lam, rest = sample_lam(rng, n, alpha)
        x = lam * (2.0 + 0.2 * rng.standard_normal(n)) + rest * (-1.0 + 0.7 * rng.standard_normal(n))
        inside = (x > 0.0) & (x < 0.9)
        predicted = interval_intrusion(alpha, 0.0, 0.9, (2.0, -1.0), (0.2, 0.7))
        assert abs(inside.mean() - predicted) < 6 * inside.std() / np.sqrt(n)
    halves = interval_intrusion(1.0, -np.inf, 0.3, (2.0, -1.0), (0.2, 0.7))
    assert halves + interval_intrusion(1.0, 0.3, np.inf, (2.0, -1.0), (0.2, 0.7)) == pytest.approx(1, rel=1e-12)
    assert interval_intrusion(1.0, 5.0, 6.0, (2.0, 2.0), (0.1, 0.1)) > 0  # tails keep their digits
    assert interval_intrusion(1.0, -0.5, 1.0, (2.0, -1.0), (0.0, 0.0)) == pytest.approx(0.5, rel=1e-12)


def test_region_estimates_agree_with_the_exact_value() -> None:
    def middle(x: np.ndarray) -> np.ndarray:
        return np.abs(x[:, 0]) < 0.5

    for alpha in ALPHAS:
        means, covariances = ([1.0, 0.0], [-1.0, 3.0]), (0.01 * np.eye(2), np.diag([0.01, 4.0]))
        estimate, error = region_intrusion(np.random.default_rng(1), middle, alpha, means, covariances)
        assert abs(estimate - collinear_intrusion(alpha, 0.1)) < 6 * error
        again, _ = region_intrusion(np.random.default_rng(1), middle, alpha, means, covariances)
        assert again == estimate


@pytest.mark.parametrize("dimension", [2, 3, 5, 20])
@pytest.mark.parametrize("alpha", [0.1, 1.0, 7.0])
def test_radius_moments_and_cdf_agree(alpha: float, dimension: int) -> None:
    """E (1 - R^2)^k = int_0^1 k (1 - r^2)^(k - 1) 2 r P(R <= r) dr, and E R^2 = s."""
    nodes, weights = np.polynomial.legendre.leggauss(150)
    theta = np.pi / 4 * (1 + nodes)  # r = sin(theta): smooth at r = 1
    r, weights = np.sin(theta), np.pi / 4 * weights * np.cos(theta)
    cdf = sphere_radius_cdf(r, alpha, dimension)
    for k in (1.0, 2.0, 3.5):
        wanted = np.sum(weights * k * np.cos(theta) ** (2 * k - 2) * 2 * r * cdf)
        assert sphere_radius_moment(alpha, k, dimension) == pytest.approx(wanted, rel=1e-7)
    assert 1 - sphere_radius_moment(alpha, 1, dimension) == pytest.approx(shrink_factor(alpha), rel=1e-12)
    assert sphere_radius_moment(alpha, 0, dimension) == 1.0


@pytest.mark.parametrize("dimension", [2, 3, 6])
@pytest.mark.parametrize("alpha", [0.05, 1.0, 3.0, 1e5])
def test_cdf_and_intrusion_against_monte_carlo(alpha: float, dimension: int) -> None:
    rng = np.random.default_rng(10)
    n = 100_000
    points = rng.standard_normal((2, n, dimension))
    points /= np.linalg.norm(points, axis=2, keepdims=True)
    lam, rest = sample_lam(rng, n, alpha)
    radius = np.linalg.norm(lam[:, None] * points[0] + rest[:, None] * points[1], axis=1)
    for r in (0.2, 0.6, 0.95):
        below = radius <= r
        assert abs(below.mean() - sphere_radius_cdf(r, alpha, dimension)) < 6 * max(below.std(), 1e-3) / np.sqrt(n)
    shell = np.abs(radius - 0.7) < 0.1
    predicted = sphere_intrusion(alpha, 1.4, 0.2, 2.0, dimension)
    assert abs(shell.mean() - predicted) < 6 * max(shell.std(), 1e-3) / np.sqrt(n)


def test_uniform_lam_on_the_circle_and_limits() -> None:
    r = np.array([0.0, 1e-6, 0.3, 0.9, 1 - 1e-9, 1.0])
    np.testing.assert_allclose(sphere_radius_cdf(r, 1.0), 1 - np.sqrt((1 - r) * (1 + r)), rtol=1e-12, atol=1e-16)
    wanted = np.sqrt(1 - 0.45**2) - np.sqrt(1 - 0.55**2)
    assert sphere_intrusion(1.0, 0.5, 0.05) == pytest.approx(wanted, rel=1e-12)
    np.testing.assert_allclose(sphere_radius_cdf(r, np.inf), 2 / np.pi * np.arcsin(r), rtol=1e-10, atol=1e-16)
    assert sphere_radius_cdf([0.5, 1.0], 0.0).tolist() == [0.0, 1.0]
    assert sphere_radius_cdf(0.5, 1e-8) == pytest.approx(1e-8 * sphere_radius_cdf(0.5, 1e-4) / 1e-4, rel=1e-3)
    assert sphere_radius_cdf(0.5, 1e6) == pytest.approx(sphere_radius_cdf(0.5, np.inf), rel=1e-5)
    np.testing.assert_allclose(sphere_radius_moment([0.0, np.inf], 1), [0.0, 0.5], rtol=1e-14)
    assert sphere_radius_moment(1.0, 2) == pytest.approx(0.2, rel=1e-14)
    product = beta.moment(2, 0.7, 0.5) * beta.moment(2, 1.5, 1.5)
    assert sphere_radius_moment(0.7, 2, 4) == pytest.approx(product, rel=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ambiguous_lam_mass(1.0, 0.6), "`eta` must be in"),
        (lambda: collinear_intrusion(1.0, -0.1), "`sigma` must be"),
        (lambda: collinear_intrusion(1.0, 0.1, 0.0), "`mean` must be"),
        (lambda: interval_intrusion(1.0, 1.0, 0.0, (0, 1), (1, 1)), "`low` must be < `high`"),
        (lambda: interval_intrusion(1.0, np.nan, 0.0, (0, 1), (1, 1)), "`low` must be"),
        (lambda: interval_intrusion(1.0, 0.0, 1.0, (0, 1, 2), (1, 1)), "two numbers each"),
        (lambda: interval_intrusion(1.0, 0.0, 1.0, (0, 1), (1, -1)), "`deviations` must be"),
        (lambda: region_intrusion(RNG, lambda x: x, 1.0, ([0.0], [1.0]), ([[1.0]], [[1.0]]), 9), "one boolean"),
        (lambda: region_intrusion(RNG, np.any, 1.0, ([0.0], [1.0]), ([1.0], [[1.0]])), "`covariances` must be"),
        (lambda: sphere_radius_cdf(1.1, 1.0), "`radius` must be in"),
        (lambda: sphere_radius_cdf(0.5, 1.0, 1), "`dimension` must be"),
        (lambda: sphere_radius_moment(1.0, -1), "`k` must be"),
        (lambda: sphere_intrusion(1.0, 0.98, 0.05), "`radius` must be >="),
        (lambda: sphere_intrusion(1.0, 0.02, 0.05), "half_width <= target_radius"),
        (lambda: sphere_intrusion(-1.0, 0.5, 0.05), "`alpha` must be"),
    ],
)
def test_bad_input(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
