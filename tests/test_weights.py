"""The law of lam beyond its moments: larger weight, entropy, transform, distribution function, sampler."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest

from mixup_theory import weights

ALPHAS = [1e-8, 1e-4, 0.04, 0.06, 0.2, 0.5, 0.999, 1.0, 4.0, 1e3, 9e3, 1e6]


def folded_moments(alpha: float) -> tuple[float, float]:
    """Mean and variance of max(lam, 1 - lam) at 60 digits, from the smaller weight."""
    with mp.workdps(60):
        a = mp.mpf(alpha)
        first = mp.betainc(a + 1, a, 0, mp.mpf(1) / 2, regularized=True)
        second = (a + 1) / (2 * a + 1) * mp.betainc(a + 2, a, 0, mp.mpf(1) / 2, regularized=True)
        return float(1 - first), float(second - first**2)


@pytest.mark.parametrize("alpha", ALPHAS[:-3])
def test_larger_weight(alpha: float) -> None:
    mean, variance = folded_moments(alpha)
    assert weights.expected_max_lam(alpha) == pytest.approx(mean, rel=1e-13)
    assert weights.var_max_lam(alpha) == pytest.approx(variance, rel=1e-11)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_larger_weight_closed_form(alpha: float) -> None:
    with mp.workdps(50):
        a = mp.mpf(alpha)
        u = mp.gamma(a + mp.mpf(1) / 2) / (mp.sqrt(mp.pi) * mp.gamma(a + 1))
        mean, variance = float((1 + u) / 2), float((1 / (2 * a + 1) - u**2) / 4)
    assert weights.expected_max_lam(alpha) == pytest.approx(mean, rel=1e-14)
    assert weights.var_max_lam(alpha) == pytest.approx(variance, rel=1e-12)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_entropy(alpha: float) -> None:
    with mp.workdps(40):
        expected = float(mp.psi(0, 2 * mp.mpf(alpha) + 1) - mp.psi(0, mp.mpf(alpha) + 1))
    assert weights.expected_binary_entropy(alpha) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("alpha", [0.3, 1.0, 7.0])
def test_cosine_transform_is_even_quadrature(alpha: float) -> None:
    from mixup_theory.quadrature import expect

    for omega in (0.1, 2.0, 9.0):
        expected = expect(lambda t, w=omega: np.cos(w * (2 * t - 1)), alpha, peel=False)
        assert weights.cosine_transform(alpha, omega) == pytest.approx(expected, rel=1e-10)
    assert weights.cosine_transform(np.inf, 3.0) == 1.0
    for alpha, omega in [(1e-6, 3 * np.pi), (0.1, 3 * np.pi), (500.0, 3.0), (1e6, 50.0)]:
        with mp.workdps(60):
            expected = float(mp.hyp0f1(mp.mpf(alpha) + mp.mpf(1) / 2, -(mp.mpf(omega) ** 2) / 4))
        assert weights.cosine_transform(alpha, omega) == pytest.approx(expected, rel=1e-13)
    assert weights.cosine_transform(0.0, 3.0) == pytest.approx(np.cos(3.0), rel=1e-12)


def test_limits() -> None:
    ends = np.array([0.0, np.inf])
    np.testing.assert_allclose(weights.expected_max_lam(ends), [1, 0.5])
    np.testing.assert_allclose(weights.var_max_lam(ends), [0, 0], atol=1e-18)
    np.testing.assert_allclose(weights.expected_binary_entropy(ends), [0, np.log(2)], atol=1e-18)
    np.testing.assert_allclose(weights.lam_cdf([-0.1, 0.0, 0.7, 1.0], 0.0), [0, 0.5, 0.5, 1])
    np.testing.assert_allclose(weights.lam_cdf([0.4, 0.5], np.inf), [0, 1])


@pytest.mark.parametrize("alpha", [1e-8, 1e-3, 0.1, 1.0, 30.0])
def test_sampler_has_the_right_moments(alpha: float) -> None:
    n = 400_000
    lam, rest = weights.sample_lam(np.random.default_rng(7), n, alpha)
    np.testing.assert_allclose(lam + rest, 1, rtol=1e-15)
    checks = [
        (lam, 0.5, weights.lam_moment(2, 0, alpha)),
        (lam * rest, weights.mean_p(alpha), weights.mean_p_squared(alpha)),
        ((lam * rest) ** 2, weights.mean_p_squared(alpha), weights.lam_moment(4, 4, alpha)),
    ]
    for values, expected, second_moment in checks:
        standard_error = np.sqrt((second_moment - expected**2) / n)  # exact: the sampled one misses rare events
        assert abs(values.mean() - expected) < 6 * standard_error


def test_sampler_never_falls_back_to_one_half() -> None:
    lam, rest = weights.sample_lam(np.random.default_rng(1), 100_000, 1e-8)
    assert not np.any(lam == 0.5)
    assert np.all(np.minimum(lam, rest) >= 0)


def test_the_common_sampler_does() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    alpha, n = 1e-3, 50_000
    draws = torch.distributions.Beta(torch.tensor(alpha, dtype=torch.float64), torch.tensor(alpha, dtype=torch.float64))
    share = float((draws.sample((n,)) == 0.5).double().mean())
    predicted = weights.torch_half_probability(alpha)
    assert predicted == pytest.approx(0.243, abs=5e-4)
    assert abs(share - predicted) < 6 * np.sqrt(predicted * (1 - predicted) / n)


def test_sampler_two_concentrations_and_limits() -> None:
    rng = np.random.default_rng(3)
    lam, _ = weights.sample_lam(rng, 200_000, 0.5, 1.5)
    assert abs(lam.mean() - 0.25) < 6 * lam.std() / np.sqrt(200_000)
    assert set(weights.sample_lam(rng, 50, 0.0)[0]) == {0.0, 1.0}
    assert set(weights.sample_lam(rng, 5, np.inf)[0]) == {0.5}
    with pytest.raises(ValueError, match="`beta` must be a finite number > 0"):
        weights.sample_lam(rng, 5, 1.0, 0.0)
