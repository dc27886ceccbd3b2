"""Batch gradient covariance against enumeration of data, partners and weights of tiny batches."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from mixup_theory.batch_enumeration import enumerate_partners
from mixup_theory.gradient_noise import (
    NOISE_PARTNERS,
    GradientMoments,
    centred_gradient_moments,
    erm_noise_coefficients,
    fixed_point_free_coefficients,
    gaussian_gradient_moments,
    gradient_noise_coefficients,
)
from mixup_theory.laws import Beta, Fixed
from mixup_theory.quadrature import gauss_rule, gauss_rule_between

# A population of three atoms, with mean 0 for x and for r but E[x r] != 0.
X = np.array([[1.0, -2.0], [-2.0, 0.5], [0.5, 1.5]])
R = np.array([1.5, -1.0, -1.25])
CHANCE = np.array([0.4, 0.3, 0.3])
X = X - CHANCE @ X
R = R - CHANCE @ R


def population() -> GradientMoments:
    g = X * R[:, None]
    h = CHANCE @ g
    cross = (CHANCE @ R**2) * (X.T @ (CHANCE[:, None] * X)) + np.outer(h, h)
    return GradientMoments(h, (g - h).T @ (CHANCE[:, None] * (g - h)), cross)


def weight_rule(alpha, lam_max):
    """Nodes and weights that integrate polynomials of degree 4 exactly, folded at 1/2 for the larger weight."""
    if not lam_max or not 0 < alpha < np.inf:
        nodes, weights = gauss_rule(3, alpha)
        return (np.maximum(nodes, 1 - nodes) if lam_max else nodes), weights
    nodes, weights = gauss_rule_between(0.5, 1.0, alpha, 3 if alpha == 1 else 8)
    return nodes, 2 * weights


def enumerated(n, partner, lam_per, nodes, weights):
    """Mean and covariance of the batch gradient over every draw of data, partners and weights."""
    if partner == "fresh":
        maps, size = [(tuple(range(n)), tuple(range(n, 2 * n)))], 2 * n
    else:
        maps, size = list(enumerate_partners(n, partner)), n
    draws = np.array(list(product(range(3), repeat=size)))
    chances = np.prod(CHANCE[draws], axis=1)
    free = {"batch": 1, "sample": n, "pair": n // 2}[lam_per]
    choices = np.array(list(product(range(len(nodes)), repeat=free)))
    lam_chances = np.prod(weights[choices], axis=1)
    columns = {"batch": np.zeros(n, dtype=int), "sample": np.arange(n)}.get(lam_per)
    columns = np.minimum(np.arange(n), n - 1 - np.arange(n)) if columns is None else columns
    lam = nodes[choices[:, columns]][:, None, :, None]  # [choice, 1, n, 1]
    mean, second = 0.0, 0.0
    for first, other in maps:
        i, j = draws[:, first], draws[:, other]
        mixed = lam * X[i] + (1 - lam) * X[j]
        residual = lam[..., 0] * R[i] + (1 - lam[..., 0]) * R[j]
        gradient = np.mean(mixed * residual[..., None], axis=2)  # [choice, draw, d]
        weight = lam_chances[:, None] * chances / len(maps)
        mean = mean + np.einsum("cd,cdk->k", weight, gradient)
        second = second + np.einsum("cd,cdk,cdl->kl", weight, gradient, gradient)
    return mean, second - np.outer(mean, mean)


SCHEMES = [
    (3, "permutation", "batch"),
    (3, "permutation", "sample"),
    (2, "permutation", "sample"),
    (3, "independent", "batch"),
    (3, "independent", "sample"),
    (3, "derangement", "batch"),
    (3, "derangement", "sample"),
    (4, "derangement", "batch"),
    (3, "roll", "sample"),
    (2, "roll", "sample"),
    (2, "flip", "batch"),
    (4, "flip", "pair"),
    (2, "flip", "sample"),
    (2, "fresh", "batch"),
    (2, "fresh", "sample"),
    (1, "fresh", "sample"),
]


@pytest.mark.parametrize(("n", "partner", "lam_per"), SCHEMES)
@pytest.mark.parametrize("lam_max", [False, True])
@pytest.mark.parametrize("alpha", [0.0, 1.0, np.inf])
def test_coefficients_against_enumeration(n, partner, lam_per, lam_max, alpha):
    mean, covariance = enumerated(n, partner, lam_per, *weight_rule(alpha, lam_max))
    got = gradient_noise_coefficients(alpha, n, partner=partner, lam_per=lam_per, lam_max=lam_max)
    moments = population()
    np.testing.assert_allclose(got.mean_factor * moments.mean, mean, rtol=1e-11)
    np.testing.assert_allclose(got.covariance(moments), covariance, rtol=1e-11)


@pytest.mark.parametrize(("n", "partner", "lam_per"), SCHEMES)
def test_coefficients_for_other_alphas_and_laws(n, partner, lam_per):
    scheme = {"partner": partner, "lam_per": lam_per}
    moments = population()
    for law, nodes, weights in ((0.3, *gauss_rule(3, 0.3)), (Fixed(0.3), np.array([0.3]), np.array([1.0]))):
        mean, covariance = enumerated(n, partner, lam_per, nodes, weights)
        got = gradient_noise_coefficients(law, n, **scheme)
        np.testing.assert_allclose(got.mean_factor * moments.mean, mean, rtol=1e-11)
        np.testing.assert_allclose(got.covariance(moments), covariance, rtol=1e-10)


def test_larger_weight_at_fractional_alpha():
    mean, covariance = enumerated(3, "roll", "sample", *weight_rule(0.4, True))
    got = gradient_noise_coefficients(0.4, 3, partner="roll", lam_per="sample", lam_max=True)
    np.testing.assert_allclose(got.mean_factor * population().mean, mean, rtol=1e-8)
    np.testing.assert_allclose(got.covariance(population()), covariance, rtol=1e-8)


TABLE = {
    0.0: (1, 1, 1, 1.5, 1),
    0.1: (0.8620, 0.8763, 0.8906, 1.2821, 0.8921),
    0.2: (0.7647, 0.7899, 0.8151, 1.1321, 0.8140),
    0.4: (0.6374, 0.6784, 0.7193, 0.9399, 0.7090),
    1.0: (0.4667, 0.5333, 0.6000, 0.6889, 0.5639),
    4.0: (0.3131, 0.4141, 0.5152, 0.4675, 0.4301),
}


def test_the_printed_table():
    sample = {"partner": "roll", "lam_per": "sample"}
    columns = (
        {"partner": "fresh", "lam_per": "sample"},
        {"partner": "roll"},
        {"partner": "flip"},
        sample,
        {**sample, "lam_max": True},
    )
    alphas = np.array(list(TABLE))
    for k, scheme in enumerate(columns):
        noise = gradient_noise_coefficients(alphas, 32, **scheme)
        np.testing.assert_allclose(32 * (noise.kappa_c + noise.kappa_d), [row[k] for row in TABLE.values()], atol=5e-5)


@pytest.mark.parametrize("partner", NOISE_PARTNERS)
def test_one_lam_returns_to_erm_as_alpha_goes_to_zero(partner):
    limit = gradient_noise_coefficients(0.0, 8, partner=partner)
    near = gradient_noise_coefficients(1e-8, 8, partner=partner)
    np.testing.assert_allclose(list(vars(near).values()), list(vars(limit).values()), atol=1e-7)
    if partner not in ("independent", "fresh"):  # those draw examples twice or anew
        assert list(vars(limit).values()) == list(vars(erm_noise_coefficients(8)).values())


def test_the_floor_does_not_fall_with_the_batch():
    for partner in NOISE_PARTNERS:
        noise = gradient_noise_coefficients(1.0, 10**6, partner=partner)
        np.testing.assert_allclose(noise.kappa_h, 1 / 45, rtol=1e-5)
        assert noise.kappa_c < 1e-5


def test_gaussian_moments_against_hermite_quadrature():
    points, weights = np.polynomial.hermite_e.hermegauss(6)
    weights = weights / weights.sum()
    factor = np.array([[1.0, 0.0], [0.6, 0.8]])
    delta, tau2 = np.array([0.7, -1.1]), 0.4
    grid = np.array(list(product(range(6), repeat=3)))
    chance = np.prod(weights[grid], axis=1)
    z = points[grid]
    x, r = z[:, :2] @ factor.T, z[:, :2] @ factor.T @ delta - np.sqrt(tau2) * z[:, 2]
    g = x * r[:, None]
    h = chance @ g
    got = gaussian_gradient_moments(factor @ factor.T, delta, tau2)
    np.testing.assert_allclose(got.mean, h, rtol=1e-12)
    np.testing.assert_allclose(got.covariance, (g - h).T @ (chance[:, None] * (g - h)), rtol=1e-12)
    cross = (chance @ r**2) * (x.T @ (chance[:, None] * x)) + np.outer(h, h)
    np.testing.assert_allclose(got.cross, cross, rtol=1e-12)


def test_centred_moments_against_loops():
    rng = np.random.default_rng(20)
    x, theta = rng.normal(2, 1, (7, 2)), rng.normal(size=2)
    y = rng.normal(5, 1, 7)
    x0, r = x - x.mean(axis=0), (x @ theta - y) - (x @ theta - y).mean()
    g = [u * v for u, v in zip(x0, r, strict=True)]
    h = sum(g) / 7
    got = centred_gradient_moments(x, y, theta)
    np.testing.assert_allclose(got.mean, h, rtol=1e-12)
    np.testing.assert_allclose(got.covariance, sum(np.outer(u - h, u - h) for u in g) / 7, rtol=1e-12)
    pairs = [x0[i] * r[j] + x0[j] * r[i] for i in range(7) for j in range(7)]
    np.testing.assert_allclose(2 * got.cross, sum(np.outer(t, t) for t in pairs) / 49, rtol=1e-12)


def test_trace_and_relative_noise_follow_from_the_matrix():
    moments = gaussian_gradient_moments(np.diag([1.0, 2.0]), [1.0, -1.0], 0.5)
    noise = gradient_noise_coefficients(0.7, 6)
    parts = np.trace(moments.covariance), np.trace(moments.cross), moments.mean @ moments.mean
    np.testing.assert_allclose(noise.trace(*parts), np.trace(noise.covariance(moments)), rtol=1e-13)
    np.testing.assert_allclose(noise.relative(*parts), noise.trace(*parts) / (noise.mean_factor**2 * parts[2]))


def test_a_fresh_mixed_example_has_less_noise_but_less_signal_still():
    alphas = np.geomspace(1e-3, 1e3, 40)
    noise = gradient_noise_coefficients(alphas, 1, partner="fresh", lam_per="sample")
    erm = erm_noise_coefficients(1)
    for ratio in (1.0, 3.0, 100.0):  # tr C / |h|^2, which is at least 1 for Gaussian data
        assert np.all(noise.trace(ratio, ratio, 1.0) < erm.trace(ratio, ratio, 1.0))
        assert np.all(noise.relative(ratio, ratio, 1.0) > erm.relative(ratio, ratio, 1.0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gradient_noise_coefficients(1.0, 8, partner="nearest"), "`partner` must be one of"),
        (lambda: gradient_noise_coefficients(1.0, 8, lam_per="class"), "`lam_per` must be one of"),
        (lambda: gradient_noise_coefficients(1.0, 7, partner="flip"), "`n` must be even"),
        (lambda: gradient_noise_coefficients(1.0, 8, lam_per="pair"), "`partner` must be 'flip'"),
        (lambda: gradient_noise_coefficients(1.0, 8, partner="fresh", lam_per="pair"), "`partner` must be 'flip'"),
        (lambda: gradient_noise_coefficients(1.0, 1), "`n` must be"),
        (lambda: gradient_noise_coefficients(-1.0, 8), "`alpha`"),
        (lambda: gradient_noise_coefficients(Beta(1.0, 2.0), 8, lam_max=True), "`lam_max`"),
        (lambda: fixed_point_free_coefficients(1.0, 8, 1.5), "`rho2`"),
        (lambda: fixed_point_free_coefficients(1.0, 8, 0.0, lam_per="pair"), "`lam_per`"),
        (lambda: erm_noise_coefficients(0), "`n`"),
        (lambda: erm_noise_coefficients(4).trace(-1.0, 1.0, 1.0), "`trace_c`"),
        (lambda: erm_noise_coefficients(4).relative(1.0, 1.0, 0.0), "`h_squared`"),
        (lambda: gaussian_gradient_moments(np.eye(2), [1.0], 0.0), "`covariance` must have shape"),
        (lambda: gaussian_gradient_moments(np.eye(1), [1.0], -1.0), "`noise_variance`"),
        (lambda: centred_gradient_moments(np.eye(2), [1.0], [1.0, 0.0]), "`y` and `theta` must have shapes"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
