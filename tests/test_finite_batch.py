"""Finite-batch factors of every scheme against full enumeration."""

from __future__ import annotations

import numpy as np
import pytest
from enumerated_batches import SCHEMES, Atoms, enumerate_batches, partner_outcomes, possible_schemes

from mixup_theory.finite_batch import (
    BATCH_PARTNERS,
    batch_mean_variance_factor,
    finite_batch_factor,
    fixed_point_probability,
    one_sample_factor,
    pair_return_probability,
    partner_correlation,
    unconditional_factor,
    weight_law,
)
from mixup_theory.laws import Beta, Fixed, LargerBeta
from mixup_theory.mixing import PARTNERS, draw_lam, draw_partner, mix
from mixup_theory.quadrature import gauss_rule

X = np.array([[-1.7, 0.4], [0.3, -1.0], [0.9, 2.2], [2.4, 0.1]])
ATOMS = Atoms(np.array([0.1, 0.45, 0.9]), np.array([0.5, 0.2, 0.3]))


def second_moment(mixed, probability, centre):
    """Average over outcomes of the matrix mean of (z - centre)(z - centre)^T."""
    e = mixed - centre
    return np.einsum("o,onp,onq->pq", probability, e, e) / mixed.shape[1]


@pytest.mark.parametrize(("partner", "lam_per", "n"), possible_schemes(2, 3, 4))
def test_every_scheme_equals_enumeration(partner, lam_per, n):
    x = X[:n]
    covariance = np.cov(x, rowvar=False, bias=True)
    mixed, probability = enumerate_batches(x, ATOMS, partner, lam_per)
    means = mixed.mean(axis=1)
    spread = np.einsum("o,op,oq->pq", probability, means - x.mean(axis=0), means - x.mean(axis=0))
    one = second_moment(mixed, probability, x.mean(axis=0))
    for factor, matrix in (
        (one_sample_factor(n, ATOMS, partner), one),
        (batch_mean_variance_factor(n, ATOMS, partner, lam_per), spread),
        (finite_batch_factor(n, ATOMS, partner, lam_per), one - spread),
    ):
        np.testing.assert_allclose(matrix, factor * covariance, rtol=0, atol=1e-12)
    np.testing.assert_allclose(probability @ means, x.mean(axis=0), rtol=1e-12)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
@pytest.mark.parametrize(("partner", "lam_per"), [s for s in SCHEMES if s[0] != "resampled"])
def test_beta_law_equals_enumeration_on_gauss_nodes(partner, lam_per, alpha):
    mixed, probability = enumerate_batches(X, Atoms(*gauss_rule(2, alpha)), partner, lam_per)
    expected = probability @ mixed.var(axis=1) / X.var(axis=0)
    np.testing.assert_allclose(finite_batch_factor(4, alpha, partner, lam_per), expected, rtol=1e-12)


def test_batch_mean_is_preserved_exactly():
    """One lam per batch (or pair) and a permutation: no expectation is needed."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, 3))
    for partner, lam_per in (("permutation", "batch"), ("derangement", "batch"), ("roll", "batch"), ("flip", "pair")):
        mixed = mix(x, x, 0.4, rng, partner=partner, lam_per=lam_per).x
        np.testing.assert_allclose(mixed.mean(axis=0), x.mean(axis=0), rtol=0, atol=1e-14)
        assert batch_mean_variance_factor(32, 0.4, partner, lam_per) == 0.0


@pytest.mark.parametrize("n", [4, 8, 128])
@pytest.mark.parametrize("alpha", [0.0, 1e-8, 0.4, 1.0, 1e6, np.inf])
def test_printed_table(n, alpha):
    """Theory B.4, cell by cell."""
    law = Beta(alpha)
    s, v = law.shrink_factor, law.variance
    for partner in ("derangement", "flip", "roll"):
        np.testing.assert_allclose(one_sample_factor(n, alpha, partner), (n * s - 1) / (n - 1), rtol=1e-12)
        np.testing.assert_allclose(
            finite_batch_factor(n, alpha, partner, "sample"), (n * s - 1 - 2 * v) / (n - 1), rtol=1e-12
        )
        assert unconditional_factor(n, alpha, partner) == s
    np.testing.assert_allclose(finite_batch_factor(n, alpha, "permutation", "sample"), s - 2 * v / n, rtol=1e-12)
    for partner in ("permutation", "independent", "resampled"):
        assert one_sample_factor(n, alpha, partner) == s
        np.testing.assert_allclose(unconditional_factor(n, alpha, partner), s + (1 - s) / n, rtol=1e-12)
    assert finite_batch_factor(n, alpha) == s
    for lam_per in ("batch", "sample"):
        got = finite_batch_factor(n, alpha, "resampled", lam_per, num_draws=3)
        np.testing.assert_allclose(got, s * (1 - 1 / 3), rtol=1e-12)


def test_larger_weight_uses_its_own_variance():
    v = LargerBeta(0.7).variance
    got = batch_mean_variance_factor(8, 0.7, "permutation", "sample", lam_max=True)
    np.testing.assert_allclose(got, 2 * v / 8, rtol=1e-12)
    assert finite_batch_factor(8, 0.7, "roll", lam_max=True) == finite_batch_factor(8, 0.7, "roll")
    assert weight_law(Fixed(0.3), lam_max=True).lam == 0.7
    assert weight_law(LargerBeta(0.7), lam_max=True).alpha == 0.7


@pytest.mark.parametrize("lam_per", ["batch", "sample"])
@pytest.mark.parametrize("partner", PARTNERS)
def test_factors_predict_the_mix_function(partner, lam_per):
    """`mixing.draw_partner` and `draw_lam` obey the factors, with the larger weight (shuffled batch)."""
    rng = np.random.default_rng(1)
    x, ratios = rng.normal(size=8), []
    for _ in range(2000):
        order = rng.permutation(x)
        lam, j = draw_lam(rng, 8, 0.5, lam_per, lam_max=True), draw_partner(rng, 8, partner)
        ratios.append(np.var(lam * order + (1 - lam) * order[j]) / x.var())
    standard_error = np.std(ratios) / np.sqrt(len(ratios))
    predicted = finite_batch_factor(8, 0.5, partner, lam_per, lam_max=True)
    assert abs(np.mean(ratios) - predicted) < 6 * standard_error


def test_unconditional_factor_by_simulation():
    rng = np.random.default_rng(2)
    for partner in ("permutation", "independent", "roll"):
        x = rng.normal(size=(4000, 4))
        j = np.array([draw_partner(rng, 4, partner)[0] for _ in x])
        lam = draw_lam(rng, len(x), 1.0, "sample")
        first = lam * x[:, 0] + (1 - lam) * x[np.arange(len(x)), j]
        standard_error = np.std(first**2) / np.sqrt(len(x))
        assert abs(np.mean(first**2) - unconditional_factor(4, 1.0, partner)) < 6 * standard_error


@pytest.mark.parametrize(
    ("partner", "n"),
    [(p, n) for p in ("permutation", "derangement", "flip", "roll") for n in range(2, 7) if p != "flip" or n % 2 == 0],
)
def test_partner_statistics_equal_counting(partner, n):
    x = np.arange(n) - (n - 1) / 2
    outcomes = [dict(zip(first, second, strict=True)) for first, second in partner_outcomes(n, partner)]
    back = np.mean([pi[pi[0]] == 0 for pi in outcomes])
    fixed = np.mean([pi[0] == 0 for pi in outcomes])
    correlation = np.mean([x[i] * x[pi[i]] for pi in outcomes for i in pi]) / np.mean(x**2)
    np.testing.assert_allclose(pair_return_probability(n, partner), back, rtol=1e-14)
    np.testing.assert_allclose(fixed_point_probability(n, partner), fixed, rtol=1e-14)
    np.testing.assert_allclose(partner_correlation(n, partner), correlation, rtol=1e-12, atol=1e-14)


def test_return_probability_of_large_derangements():
    subfactorials = [1, 0]
    for k in range(2, 60):
        subfactorials.append((k - 1) * (subfactorials[-1] + subfactorials[-2]))
    for n in (4, 8, 31, 33, 59):
        np.testing.assert_allclose(
            pair_return_probability(n, "derangement"), (n - 1) * subfactorials[n - 2] / subfactorials[n], rtol=1e-15
        )
    assert pair_return_probability(10**6, "derangement") == 1e-6


def test_arrays_of_alpha_broadcast():
    alphas = np.array([0.0, 0.3, 2.0, np.inf])
    for partner in BATCH_PARTNERS:
        for lam_per in ("batch", "sample"):
            for lam_max in (False, True):
                got = finite_batch_factor(6, alphas, partner, lam_per, lam_max)
                each = [finite_batch_factor(6, a, partner, lam_per, lam_max) for a in alphas]
                np.testing.assert_allclose(got, each, rtol=1e-15)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((1, 1.0), "`n` must be a whole number >= 2"),
        ((4.5, 1.0), "whole number"),
        ((5, 1.0, "flip"), "even"),
        ((4, 1.0, "nearest"), "one of"),
        ((4, 1.0, "permutation", "pair"), "'flip'"),
        ((4, 1.0, "permutation", "epoch"), "one of"),
        ((4, -1.0), "alpha"),
        ((4, float("nan")), "alpha"),
        ((4, "one"), "alpha"),
        ((4, 1.0, "permutation", "batch", False, 3), "num_draws"),
        ((4, Beta(1.0, 2.0), "permutation", "sample", True), "lam_max"),
    ],
)
def test_bad_input(arguments, match):
    with pytest.raises(ValueError, match=match):
        finite_batch_factor(*arguments)


def test_return_probability_needs_a_permutation():
    with pytest.raises(ValueError, match="permutation law"):
        pair_return_probability(4, "independent")
