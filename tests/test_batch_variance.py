"""The variance of the covariance of a mixed batch against full enumeration."""

from __future__ import annotations

import numpy as np
import pytest
from enumerated_batches import SCHEMES, Atoms, enumerate_batches, partner_outcomes, possible_schemes

from mixup_theory.batch_variance import BatchMoments, batch_covariance_variance, batch_moments, one_lam_floor
from mixup_theory.laws import Beta, Fixed, LargerBeta
from mixup_theory.quadrature import gauss_rule

X = np.array([[-1.7, 0.4], [0.3, -1.0], [0.9, 2.2], [2.4, 0.1], [5.1, -0.6]])
ATOMS = Atoms(np.array([0.1, 0.45, 0.9]), np.array([0.5, 0.2, 0.3]))


def enumerated(x, law, partner, lam_per, known_mean):
    mixed, probability = enumerate_batches(x, law, partner, lam_per)
    centre = x.mean(axis=0) if known_mean else mixed.mean(axis=1, keepdims=True)
    trace = np.mean(np.sum((mixed - centre) ** 2, axis=2), axis=1)
    return probability @ trace**2 - (probability @ trace) ** 2


@pytest.mark.parametrize("known_mean", [False, True])
@pytest.mark.parametrize(("partner", "lam_per", "n"), possible_schemes(2, 3, 4, 5))
def test_every_scheme_equals_enumeration(partner, lam_per, n, known_mean):
    for x in (X[:n], X[:n, :1]):
        expected = enumerated(x, ATOMS, partner, lam_per, known_mean)
        got = batch_covariance_variance(x, ATOMS, partner, lam_per, known_mean=known_mean)
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
@pytest.mark.parametrize(("partner", "lam_per"), [s for s in SCHEMES if s[0] != "resampled"])
def test_beta_law_equals_enumeration_on_gauss_nodes(partner, lam_per, alpha):
    law = Atoms(*gauss_rule(3, alpha))  # exact to degree 5; the squared covariance has degree 4 in each weight
    expected = enumerated(X[:4], law, partner, lam_per, False)
    np.testing.assert_allclose(batch_covariance_variance(X[:4], alpha, partner, lam_per), expected, rtol=1e-10)


@pytest.mark.parametrize("num_draws", [2, 3])
def test_number_of_draws(num_draws):
    """Two or three fresh pairs from four scalars, by hand-rolled enumeration."""
    x, law = X[:3, 0], Atoms(np.array([0.2, 0.7]), np.array([0.5, 0.5]))
    one = np.array([w * a + (1 - w) * b for w in law.lam for a in x for b in x])
    grids = np.stack(np.meshgrid(*[one] * num_draws, indexing="ij"), axis=-1).reshape(-1, num_draws)
    expected = grids.var(axis=1).var()
    got = batch_covariance_variance(x, law, "resampled", "sample", num_draws=num_draws)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize("alpha", [1e-8, 1e-3, 0.3, 1.0, 20.0])
def test_theory_formulas_scalar(alpha):
    """The printed formulas of theory B.5, uniform permutation, with moments written out."""
    x = X[:, 0]
    n, sigma2, m4 = 5, x.var(), np.mean((x - x.mean()) ** 4)
    law = Beta(alpha)
    one = sigma2**2 * (law.var_q + 4 * law.mean_p_squared / (n - 1))
    np.testing.assert_allclose(batch_covariance_variance(x, alpha), one, rtol=1e-12)
    l2, l4, p, p2 = law.moment(2), law.moment(4), law.mean_p, law.mean_p_squared
    per_sample = (2 * m4 * (l4 - l2**2) + sigma2**2 * (6 * p2 - 2 * l2**2 - 4 * p**2)) / n
    per_sample += 4 * p**2 * sigma2**2 / (n - 1)
    got = batch_covariance_variance(x, alpha, lam_per="sample", known_mean=True)
    np.testing.assert_allclose(got, per_sample, rtol=1e-12)


@pytest.mark.parametrize("partner", ["permutation", "derangement", "independent"])
def test_larger_weight_by_simulation(partner):
    rng = np.random.default_rng(3)
    x, lam = X[:4], LargerBeta(0.6).sample(rng, (20000, 4))[:, :, None]
    j = rng.integers(0, 4, (20000, 4))
    if partner != "independent":
        pool = np.array([second for _, second in partner_outcomes(4, partner)])
        j = pool[rng.integers(0, len(pool), 20000)]
    values = (lam * x + (1 - lam) * x[j]).var(axis=1).sum(axis=1)
    squares = (values - values.mean()) ** 2
    predicted = batch_covariance_variance(x, 0.6, partner, "sample", lam_max=True)
    assert abs(squares.mean() - predicted) < 6 * squares.std() / np.sqrt(len(values))


@pytest.mark.parametrize("partner", ["permutation", "derangement", "roll", "independent", "resampled"])
def test_limits_are_continuous(partner):
    for alpha, near in ((0.0, 1e-10), (np.inf, 1e9)):
        for lam_per in ("batch", "sample"):
            for lam_max in (False, True):
                at = batch_covariance_variance(X, alpha, partner, lam_per, lam_max)
                close = batch_covariance_variance(X, near, partner, lam_per, lam_max)
                np.testing.assert_allclose(close, at, rtol=1e-3, atol=1e-7)


def test_small_alpha_keeps_its_digits_with_the_larger_weight():
    """The variance is proportional to alpha there: no digits may be lost to cancellation."""
    values = [batch_covariance_variance(X, a, "derangement", "sample", True) / a for a in (1e-8, 1e-7)]
    np.testing.assert_allclose(values[0], values[1], rtol=1e-5)


def test_fixed_weight_of_one_leaves_no_variance():
    assert batch_covariance_variance(X, Fixed(1.0), "derangement") == 0.0
    np.testing.assert_allclose(batch_covariance_variance(X, Fixed(1.0), "derangement", "sample"), 0.0, atol=1e-12)


def test_floor_is_the_limit_of_large_batches():
    batch = BatchMoments(10**7, 1.0, 1.0, 3.0)
    for alpha, printed in ((1.0, 0.224), (0.2, 0.202)):
        relative = np.sqrt(batch_covariance_variance(batch, alpha)) / Beta(alpha).shrink_factor
        np.testing.assert_allclose(relative, one_lam_floor(alpha), rtol=1e-5)
        assert round(one_lam_floor(alpha), 3) == printed


def test_moments_of_wide_and_tall_batches_agree():
    wide = np.random.default_rng(0).normal(size=(4, 9))
    tall = np.concatenate([wide, wide])
    moments, double = batch_moments(wide), batch_moments(tall)
    covariance = np.cov(wide, rowvar=False, bias=True)
    np.testing.assert_allclose(
        [moments.trace, moments.square], [np.trace(covariance), np.sum(covariance**2)], rtol=1e-12
    )
    np.testing.assert_allclose(moments.kurtosis, double.kurtosis, rtol=1e-12)


@pytest.mark.parametrize(
    ("x", "alpha", "partner", "lam_per", "lam_max", "match"),
    [
        ([1.0], 1.0, "permutation", "batch", False, "at least 2"),
        ([1.0, 1.0], 1.0, "permutation", "batch", False, "constant"),
        (X, [1.0, 2.0], "permutation", "batch", False, "one number"),
        (X, 1.0, "flip", "batch", False, "even"),
        (X, 1.0, "roll", "pair", False, "'flip'"),
        (X, 1.0, "nearest", "batch", False, "one of"),
        (X, Beta(1.0, 2.0), "roll", "sample", True, "lam_max"),
        (X, -1.0, "roll", "sample", False, "alpha"),
    ],
)
def test_bad_input(x, alpha, partner, lam_per, lam_max, match):
    with pytest.raises(ValueError, match=match):
        batch_covariance_variance(x, alpha, partner, lam_per, lam_max)
