"""The unrestricted optimum of mixed Gaussians against theory F.4 and F.7, dense sums, Monte Carlo and limits."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.special import entr, expit
from scipy.stats import norm

from mixup_theory.mixture_posterior import gmm_cross_entropy_floor, gmm_grid, gmm_label_densities, gmm_posterior
from mixup_theory.weights import expected_binary_entropy, sample_lam


def test_printed_posterior() -> None:
    got = gmm_posterior(1.0, [0.1, 0.5, 1.0, 4.0], 1.0, 0.25)
    np.testing.assert_allclose(got, [0.985840, 0.960668, 0.951311, 0.953799], atol=5.1e-7, rtol=0)
    assert gmm_posterior(1.0, 0.0, 1.0, 0.25) == pytest.approx(0.999665, abs=5e-7)


def test_printed_floor() -> None:
    got = gmm_cross_entropy_floor([0.2, 1.0, 4.0], 1.0, 0.25)
    np.testing.assert_allclose(got, [0.207603, 0.349734, 0.412768], atol=5.1e-7, rtol=0)
    bound = 0.5 * expected_binary_entropy([0.2, 1.0, 4.0])
    np.testing.assert_allclose(bound, [0.113828, 0.25, 0.317262], atol=5.1e-7, rtol=0)
    assert np.all(got > bound)


def dense_posterior(x: float, alpha: float, mean: float, variance: float, prior: float) -> float:
    """Midpoint sum over two million lam, for alpha >= 2 where the integrand vanishes at the ends."""
    lam = (np.arange(2_000_000) + 0.5) / 2_000_000
    q = lam**2 + (1 - lam) ** 2
    base = (alpha - 1) * np.log(4 * lam * (1 - lam)) - 0.5 * np.log(q)
    one, zero, mixed = (base - (x - centre) ** 2 / (2 * q * variance) for centre in (mean, -mean, (2 * lam - 1) * mean))
    top = max(one.max(), zero.max(), mixed.max())
    both = 2 * prior * (1 - prior) * np.exp(mixed - top)
    up = np.sum(prior**2 * np.exp(one - top) + lam * both)
    down = np.sum((1 - prior) ** 2 * np.exp(zero - top) + (1 - lam) * both)
    return up / (up + down)


@pytest.mark.parametrize("alpha", [2.0, 29.0, 31.0, 1000.0])
@pytest.mark.parametrize(
    ("x", "mean", "variance"), [(0.3, 1.0, 4.0), (-2.0, 1.0, 0.1), (0.4, 1.0, 0.004), (-8.0, 1.0, 0.25)]
)
def test_posterior_against_a_dense_sum(alpha: float, x: float, mean: float, variance: float) -> None:
    wanted = dense_posterior(x, alpha, mean, variance, 0.3)
    assert gmm_posterior(x, alpha, mean, variance, 0.3) == pytest.approx(wanted, rel=2e-9)


@pytest.mark.parametrize("alpha", [0.05, 0.5, 1.0, 1.5, 1e6])
def test_densities_against_monte_carlo(alpha: float) -> None:
    rng = np.random.default_rng(11)
    n, mean, sd, prior = 400_000, 1.0, 0.6, 0.4
    first, second = np.where(rng.random((2, n)) < prior, 1, -1)
    lam, rest = sample_lam(rng, n, alpha)
    x = lam * (first * mean + sd * rng.standard_normal(n)) + rest * (second * mean + sd * rng.standard_normal(n))
    label = lam * (first == 1) + rest * (second == 1)
    edges = np.array([-1.2, -0.4, 0.1, 0.8, 1.6])
    nodes, weights = np.polynomial.legendre.leggauss(20)
    for low, high in pairwise(edges):
        at = low + (high - low) * (1 + nodes) / 2
        zero, one = gmm_label_densities(at, alpha, mean, sd**2, prior)
        inside = (x >= low) & (x < high)
        for density, sample in ((one, label * inside), (zero, (1 - label) * inside)):
            predicted = (high - low) / 2 * weights @ density
            assert abs(sample.mean() - predicted) < 6 * sample.std() / np.sqrt(n)


def test_densities_integrate_to_the_class_probabilities() -> None:
    for alpha in (1e-8, 0.3, 1.0, 7.0, 1e4, np.inf):
        for separation in (0.1, 1.0, 9.0):
            x = gmm_grid(separation)
            zero, one = gmm_label_densities(x, alpha, separation, 1.0, 0.2)
            step = x[1] - x[0]
            assert step * one.sum() == pytest.approx(0.2, rel=1e-11)
            assert step * zero.sum() == pytest.approx(0.8, rel=1e-11)


def test_limits_of_the_posterior() -> None:
    x = np.array([-3.0, -0.2, 0.0, 1.0, 2.5])
    bayes = expit(2 * 0.7 * x / 0.5 + np.log(3 / 7))
    np.testing.assert_allclose(gmm_posterior(x, 0.0, 0.7, 0.5, 0.3), bayes, rtol=1e-12)
    np.testing.assert_allclose(gmm_posterior(x, 1e-12, 0.7, 0.5), gmm_posterior(x, 0.0, 0.7, 0.5), rtol=1e-8)
    half = [norm.pdf(x, centre, np.sqrt(0.25)) for centre in (-0.7, 0.0, 0.7)]  # lam = 1/2: variance halved
    wanted = (0.25 * half[2] + 0.25 * half[1]) / (0.25 * half[0] + 0.5 * half[1] + 0.25 * half[2])
    np.testing.assert_allclose(gmm_posterior(x, np.inf, 0.7, 0.5), wanted, rtol=1e-12)
    np.testing.assert_allclose(gmm_posterior(x, 1e6, 0.7, 0.5), wanted, rtol=1e-4)


def test_symmetry_and_under_confidence() -> None:
    x = np.linspace(-4, 4, 17)
    np.testing.assert_allclose(gmm_posterior(x, 0.7) + gmm_posterior(-x, 0.7), 1, rtol=1e-13)
    clean = gmm_posterior(1.0, 0.0, 1.0, 0.25)
    mixed = gmm_posterior(1.0, [0.1, 0.5, 1.0, 4.0], 1.0, 0.25)
    assert np.all(mixed < clean)
    assert mixed[3] > mixed[2]  # not monotone in alpha


def test_floor_against_monte_carlo_and_limits() -> None:
    rng = np.random.default_rng(5)
    n = 4000
    for alpha in (0.2, 4.0):
        first, second = rng.integers(0, 2, (2, n)) * 2 - 1
        lam, rest = sample_lam(rng, n, alpha)
        x = lam * (first + 0.5 * rng.standard_normal(n)) + rest * (second + 0.5 * rng.standard_normal(n))
        g = gmm_posterior(x, alpha, 1.0, 0.25)
        entropy = entr(g) + entr(1 - g)
        predicted = gmm_cross_entropy_floor(alpha, 1.0, 0.25)
        assert abs(entropy.mean() - predicted) < 6 * entropy.std() / np.sqrt(len(g))
    almost_clean, clean, almost_half, half = gmm_cross_entropy_floor([1e-300, 0.0, 1e6, np.inf], 1.0, 0.25)
    assert almost_clean == pytest.approx(clean, rel=1e-13)
    assert almost_half == pytest.approx(half, rel=1e-6)
    assert gmm_cross_entropy_floor(1.0, 1e-6) == pytest.approx(np.log(2), abs=1e-10)  # nothing to learn
    assert gmm_cross_entropy_floor(1e6, 20.0) == pytest.approx(np.log(2) / 2, rel=1e-6)  # halves of two far classes


def test_broadcasting() -> None:
    assert gmm_posterior(np.zeros((3, 1)), [0.5, 1.0]).shape == (3, 2)
    assert gmm_cross_entropy_floor([0.5, 1.0], [[1.0], [2.0]]).shape == (2, 2)
    table = gmm_posterior([0.1, 0.2], [0.5, 1.0], [1.0, 2.0], [0.3, 0.4], [0.5, 0.6])
    assert table[1] == gmm_posterior(0.2, 1.0, 2.0, 0.4, 0.6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gmm_posterior(0.0, 1.0, -1.0), "`mean` must be"),
        (lambda: gmm_posterior(0.0, 1.0, 1.0, 0.0), "`variance` must be"),
        (lambda: gmm_posterior(0.0, 1.0, prior=0.0), "`prior` must be in"),
        (lambda: gmm_posterior(100.0, 1.0), "at most 20 standard deviations"),
        (lambda: gmm_posterior(0.0, 1.0, 30.0), "must be in"),
        (lambda: gmm_posterior(np.nan, 1.0), "`x` must be"),
        (lambda: gmm_cross_entropy_floor(1.0, 30.0), "must be in"),
        (lambda: gmm_cross_entropy_floor(-1.0), "`alpha` must be"),
        (lambda: gmm_grid(0.0), "`separation` must be in"),
    ],
)
def test_bad_input(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
