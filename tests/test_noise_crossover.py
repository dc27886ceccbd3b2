"""Crossovers against the coefficients they come from; the logistic case against enumeration; derivations."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from mixup_theory.finite_batch import pair_return_probability
from mixup_theory.gradient_noise import (
    erm_noise_coefficients,
    fixed_point_free_coefficients,
    gradient_noise_coefficients,
)
from mixup_theory.noise_crossover import (
    derive_gradient_noise,
    derive_logistic_origin_noise,
    gradient_noise_crossover,
    logistic_origin_covariance,
    logistic_origin_gradient,
    logistic_origin_threshold,
    per_sample_noise_threshold,
)
from mixup_theory.quadrature import gauss_rule


@pytest.mark.parametrize("alpha", [1e-6, 0.2, 1.0, 30.0])
@pytest.mark.parametrize("rho2", [0.0, 0.25, 1.0])
def test_at_the_crossover_both_traces_agree(alpha, rho2):
    trace_c, trace_d, h_squared = 4.0, 5.0, 0.7
    n = gradient_noise_crossover(alpha, trace_c, h_squared, trace_d=trace_d, rho2=rho2)
    for size in (int(n), int(n) + 1):
        mixed = fixed_point_free_coefficients(alpha, size, rho2).trace(trace_c, trace_d, h_squared)
        plain = erm_noise_coefficients(size).trace(trace_c, trace_d, h_squared)
        assert (mixed > plain) == (size > n)
    # the difference is linear in 1/n: its root, from two batch sizes
    gaps = [
        size * (fixed_point_free_coefficients(alpha, size, rho2).trace(trace_c, trace_d, h_squared) - trace_c / size)
        for size in (2, 1000)
    ]
    root = 2 - gaps[0] * 998 / (gaps[1] - gaps[0])
    np.testing.assert_allclose(n, root, rtol=1e-8)


def test_crossover_in_the_gaussian_case_and_at_the_limits():
    a = np.array([0.0, 0.2, 1.0, 4.0])
    roll = (2 * a + 1) * (5 * a + 9) / 2 * 4
    np.testing.assert_allclose(gradient_noise_crossover(a, 4.0, 1.0), roll, rtol=1e-14)
    flip = 2 * (a + 2) * (2 * a + 1) * 4
    np.testing.assert_allclose(gradient_noise_crossover(a, 4.0, 1.0, rho2=1.0), flip, rtol=1e-14)
    assert gradient_noise_crossover(np.inf, 4.0, 1.0) == np.inf
    assert gradient_noise_crossover(0.1, 1.0, 1.0, trace_d=40.0) < 0


@pytest.mark.parametrize("rho2", [0.0, 0.3, 1.0])
def test_at_the_threshold_the_coefficient_is_one(rho2):
    alpha = per_sample_noise_threshold(rho2)
    for factor, sign in ((0.99, 1), (1.0, 0), (1.01, -1)):
        noise = fixed_point_free_coefficients(factor * alpha, 10, rho2, lam_per="sample")
        excess = 10 * (noise.kappa_c + noise.kappa_d) - 1
        assert np.sign(np.round(excess, 12)) == sign


def test_threshold_is_the_printed_root():
    roots = np.roots([10, 19, 2, -3])
    np.testing.assert_allclose(per_sample_noise_threshold(), roots[(roots.real > 0)][0].real, rtol=1e-13)
    assert round(per_sample_noise_threshold(), 5) == 0.32499


def logistic_by_enumeration(alpha, mu, sigma):
    """Gradient x (1/2 - y) at weights 0 over labels, two-point noises with covariance sigma, and lam."""
    root = np.linalg.cholesky(sigma)
    nodes, weights = gauss_rule(3, alpha)
    signs = list(product((-1, 1), repeat=len(mu)))
    # independent coordinates +-1 have the identity as covariance
    first, second = np.zeros(len(mu)), np.zeros((len(mu), len(mu)))
    count = 4 * len(signs) ** 2
    for (t, u), e, f in product(product((-1, 1), repeat=2), signs, signs):
        x, w = t * mu + root @ e, u * mu + root @ f
        for lam, weight in zip(nodes, weights, strict=True):
            label = (1 + lam * t + (1 - lam) * u) / 2
            g = (lam * x + (1 - lam) * w) * (0.5 - label)
            first, second = first + weight * g / count, second + weight * np.outer(g, g) / count
    return first, second - np.outer(first, first)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0, 20.0, np.inf])
def test_logistic_origin_against_enumeration(alpha):
    mu, sigma = np.array([1.5, -0.5]), np.array([[1.0, 0.3], [0.3, 0.5]])
    mean, covariance = logistic_by_enumeration(alpha, mu, sigma)
    np.testing.assert_allclose(logistic_origin_gradient(alpha, mu), mean, rtol=1e-12)
    np.testing.assert_allclose(logistic_origin_covariance(alpha, mu, sigma), covariance, rtol=1e-12)


def test_logistic_threshold_is_where_the_traces_agree():
    alphas = np.array([1e-8, 0.2, 1.0, 50.0, 1e6])
    for alpha, ratio in zip(alphas, logistic_origin_threshold(alphas), strict=True):
        mixed = np.trace(logistic_origin_covariance(alpha, [np.sqrt(ratio)], [[1.0]]))
        np.testing.assert_allclose(mixed, 0.25, rtol=1e-8)
    np.testing.assert_allclose(logistic_origin_threshold([0.0, 1.0, np.inf]), [2.5, 24 / 7, 3.0], rtol=1e-15)
    assert logistic_origin_covariance(alphas, [1.0, 2.0], np.eye(2)).shape == (5, 2, 2)
    assert logistic_origin_gradient(alphas, [1.0, 2.0]).shape == (5, 2)


SCHEMES = [(p, lam_per) for p in ("permutation", "derangement", "roll", "flip") for lam_per in ("batch", "sample")]


@pytest.mark.parametrize(("partner", "lam_per"), SCHEMES)
def test_derived_noise_ends_in_the_shipped_coefficients(partner, lam_per):
    result = derive_gradient_noise(partner, lam_per).verify().result
    for n, a in ((6, 0.2), (32, 4.0)):
        rho2 = pair_return_probability(n, partner)
        noise = gradient_noise_coefficients(a, n, partner=partner, lam_per=lam_per)
        for traces in ((3.0, 2.0, 0.5), (1.0, 4.0, 2.0)):
            values = dict(zip("CDH", traces, strict=True))
            value = float(result.subs({"n": n, "a": a, "rho_2": rho2, **values}))
            np.testing.assert_allclose(noise.trace(*traces), value, rtol=1e-12)


def test_derived_logistic_noise_ends_in_the_shipped_covariance():
    result = derive_logistic_origin_noise().verify().result
    for mu, v, a in ((1.5, 0.7, 0.2), (0.3, 2.0, 5.0)):
        got = logistic_origin_covariance(a, [mu], [[v]])[0, 0]
        np.testing.assert_allclose(got, float(result.subs({"mu": mu, "v": v, "a": a})), rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gradient_noise_crossover(-1.0, 1.0, 1.0), "`alpha`"),
        (lambda: gradient_noise_crossover(1.0, 0.0, 1.0), "`trace_c`"),
        (lambda: gradient_noise_crossover(1.0, 1.0, 0.0), "`h_squared`"),
        (lambda: gradient_noise_crossover(1.0, 1.0, 1.0, trace_d=-1.0), "`trace_d`"),
        (lambda: gradient_noise_crossover(1.0, 1.0, 1.0, rho2=2.0), "`rho2`"),
        (lambda: per_sample_noise_threshold(-0.1), "`rho2`"),
        (lambda: logistic_origin_threshold(float("nan")), "`alpha`"),
        (lambda: logistic_origin_gradient(1.0, 2.0), "`class_mean`"),
        (lambda: logistic_origin_covariance(1.0, [1.0], np.eye(2)), "`noise_covariance` must have shape"),
        (lambda: derive_gradient_noise("fresh"), "`partner`"),
        (lambda: derive_gradient_noise("roll", "pair"), "`lam_per`"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
