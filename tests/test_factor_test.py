"""The tests of the factor: their variances by enumeration, their size and power by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mixup_theory.batch_variance import BatchMoments, batch_covariance_variance, batch_moments
from mixup_theory.factor_test import (
    batch_factor_test,
    factor_test,
    mixed_fourth_moment_ratio,
    pair_factor_test,
    shrink_ratio_asymptotic_var,
)
from mixup_theory.laws import Beta, Fixed, LargerBeta
from mixup_theory.mixing import draw_lam, draw_partner
from mixup_theory.quadrature import gauss_rule

X = np.array([[-1.7, 0.4], [0.3, -1.0], [0.9, 2.2], [2.4, 0.1], [-1.0, 1.3]])
FIVE_PERCENT = 6 * np.sqrt(0.05 * 0.95 / 2000)  # six standard errors of a rejection rate over 2000 trials


def pairs(x, alpha):
    """Squared lengths of all mixtures and of both members, with chances."""
    nodes, weights = gauss_rule(3, alpha)
    e = x - x.mean(axis=0)
    z = nodes[:, None, None, None] * e[:, None] + (1 - nodes)[:, None, None, None] * e[None]
    length = np.sum(e**2, axis=1)
    shape = z.shape[:3]
    chance = np.broadcast_to(weights[:, None, None] / len(x) ** 2, shape)
    return np.sum(z**2, axis=-1), np.broadcast_to(length[:, None], shape), np.broadcast_to(length, shape), chance


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
@pytest.mark.parametrize("x", [X, X[:, :1]], ids=["vector", "scalar"])
def test_variances_equal_enumeration(x, alpha):
    """The delta method with every moment enumerated: Var(z - s * denominator) / T^2."""
    mixed, first, second, chance = pairs(x, alpha)
    batch, s = batch_moments(x), Beta(alpha).shrink_factor
    r = batch.square / batch.trace**2
    np.testing.assert_allclose(
        mixed_fourth_moment_ratio(alpha, batch.kurtosis, r), np.sum(chance * mixed**2) / batch.trace**2, rtol=1e-12
    )
    for estimator, influence in (
        ("fixed", mixed - s * batch.trace),
        ("x_only", mixed - s * first),
        ("pooled", mixed - s * (first + second) / 2),
    ):
        expected = np.sum(chance * influence**2) / batch.trace**2
        got = shrink_ratio_asymptotic_var(alpha, batch.kurtosis, estimator, r)
        np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize("kurtosis", [1.0, 3.0, 9.0])
def test_permutation_variance_is_the_limit_of_the_finite_batch(kurtosis):
    n = 10**6
    for alpha in (0.2, 1.0, 4.0):
        exact = n * batch_covariance_variance(
            BatchMoments(n, 1.0, 0.6, kurtosis), alpha, lam_per="sample", known_mean=True
        )
        got = shrink_ratio_asymptotic_var(alpha, kurtosis, "permutation", 0.6)
        np.testing.assert_allclose(got, exact, rtol=1e-5)


def test_printed_standard_deviations():
    """Theory B.6: normal data, alpha = 1."""
    printed = {"x_only": 0.9775, "pooled": 0.7149, "permutation": 0.7149}
    for estimator, value in printed.items():
        assert round(np.sqrt(shrink_ratio_asymptotic_var(1.0, 3.0, estimator)), 4) == value
    # permutation partners against the variance that the F test assumes, (kurtosis 3) 4 s^2 / m
    assert round(shrink_ratio_asymptotic_var(1.0, 3.0, "pooled") / (4 * (2 / 3) ** 2), 4) == 0.2875
    assert round(shrink_ratio_asymptotic_var(1.0, 1.0, "x_only") / (4 * (2 / 3) ** 2), 4) == 0.0875


def test_statistic_is_what_it_says():
    """One data set by hand: pairs with replacement, scalar."""
    x = X[:, 0]
    mixed = np.array([0.1, 1.3, -0.4, 2.0, 0.8, 0.0])
    variance, kurtosis = x.var(), np.mean((x - x.mean()) ** 4) / x.var() ** 2
    estimate = np.mean((mixed - x.mean()) ** 2) / variance
    standard_error = np.sqrt(shrink_ratio_asymptotic_var(0.5, kurtosis, "fixed") / 6)
    got = factor_test(mixed, x, 0.5)
    np.testing.assert_allclose(got.estimate, estimate, rtol=1e-12)
    np.testing.assert_allclose(got.standard_error, standard_error, rtol=1e-12)
    np.testing.assert_allclose(got.target, 0.75)
    np.testing.assert_allclose(got.p_value, 2 * stats.norm.sf(abs(estimate - 0.75) / standard_error), rtol=1e-10)
    assert got.num_units == 6


def trial(rng, x, alpha, partner, lam_max, batches):
    """Mix the data `batches` times, lam per sample."""
    rows = []
    for _ in range(batches):
        order, lam = rng.permutation(x), draw_lam(rng, len(x), alpha, "sample", lam_max)
        rows.append(lam * order + (1 - lam) * order[draw_partner(rng, len(x), partner)])
    return np.concatenate(rows)


@pytest.mark.parametrize(
    ("partner", "lam_max"), [("permutation", False), ("derangement", True), ("independent", False)]
)
def test_size_of_the_per_sample_test(partner, lam_max):
    rng = np.random.default_rng(4)
    x = rng.normal(size=60)
    p_values, zs = [], []
    for _ in range(2000):
        test = factor_test(trial(rng, x, 1.0, partner, lam_max, 1), x, 1.0, partner=partner, lam_max=lam_max)
        p_values.append(test.p_value)
        zs.append(test.statistic)
    assert abs(np.mean(np.array(p_values) < 0.05) - 0.05) < FIVE_PERCENT
    assert abs(np.mean(zs)) < 6 / np.sqrt(2000)
    assert abs(np.var(zs) - 1) < 6 * np.sqrt(3 / 2000)


def test_size_with_replacement_and_power():
    rng = np.random.default_rng(5)
    x = rng.exponential(size=(80, 3))
    i, j, lam = rng.integers(0, 80, (2000, 300)), rng.integers(0, 80, (2000, 300)), rng.uniform(size=(2000, 300, 1))
    mixed = lam * x[i] + (1 - lam) * x[j]
    tests = [factor_test(z, x, 1.0) for z in mixed]
    assert abs(np.mean([t.p_value < 0.05 for t in tests]) - 0.05) < FIVE_PERCENT
    wrong = [factor_test(z, x, 1.0, target=1.0).p_value < 0.05 for z in mixed[:200]]  # "nothing shrinks"
    assert np.mean(wrong) > 0.95


def test_size_of_the_population_test():
    rng = np.random.default_rng(6)
    x, z, lam = rng.normal(size=(2000, 400)), rng.normal(size=(2000, 400)), rng.uniform(size=(2000, 400))
    mixed = lam * x + (1 - lam) * z
    for partners in (None, z):
        p_values = [
            pair_factor_test(mixed[r], x[r], 1.0, None if partners is None else partners[r]).p_value
            for r in range(2000)
        ]
        assert abs(np.mean(np.array(p_values) < 0.05) - 0.05) < FIVE_PERCENT


def test_size_of_the_batch_test_and_failure_of_the_per_sample_one():
    """40 batches of 128 with one lam each: the batch is the unit."""
    rng = np.random.default_rng(7)
    rejected = {"t": [], "z": [], "per_sample": []}
    naive = np.sqrt(shrink_ratio_asymptotic_var(1.0, 3.0, "permutation") / (40 * 128))
    for repeat in range(500):
        x, lam = rng.normal(size=(40, 128)), rng.uniform(size=(40, 1))
        mixed = lam * x + (1 - lam) * rng.permuted(x, axis=1)
        rejected["t"].append(batch_factor_test(mixed, x, 1.0).p_value < 0.05)
        if repeat < 200:
            rejected["z"].append(batch_factor_test(mixed, x, 1.0, known_variance=True).p_value < 0.05)
        rejected["per_sample"].append(abs(mixed.var() / x.var() - 2 / 3) > 1.96 * naive)
    for kind in ("t", "z"):
        assert abs(np.mean(rejected[kind]) - 0.05) < 6 * np.sqrt(0.05 * 0.95 / len(rejected[kind]))
    true = np.sqrt(batch_covariance_variance(BatchMoments(128, 1.0, 1.0, 3.0), 1.0) / 40)
    predicted = 2 * stats.norm.sf(1.96 * naive / true)
    assert predicted > 0.4
    assert abs(np.mean(rejected["per_sample"]) - predicted) < 0.15


def test_batch_test_uses_the_finite_batch_target():
    """Fixed lam, derangement of 4: every factor is random only through the partner; s would be refuted."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=(3000, 4))
    mixed = 0.3 * x + 0.7 * x[:, draw_partner(rng, 4, "derangement")]
    test = batch_factor_test(mixed, x, Fixed(0.3), partner="derangement")
    np.testing.assert_allclose(test.target, (4 * 0.58 - 1) / 3, rtol=1e-12)
    assert abs(test.statistic) < 6
    assert batch_factor_test(mixed, x, Fixed(0.3), partner="derangement", target=0.58).p_value < 1e-6


def test_vector_batches_and_whole_batches_of_a_data_set():
    rng = np.random.default_rng(9)
    x = rng.normal(size=(50, 16, 3))
    mixed = 0.5 * x + 0.5 * np.roll(x, 1, axis=1)
    by_hand = mixed.var(axis=1).sum(axis=1) / x.var(axis=1).sum(axis=1)
    test = batch_factor_test(mixed, x, np.inf, partner="roll")
    np.testing.assert_allclose([test.estimate, test.degrees_of_freedom], [by_hand.mean(), 49], rtol=1e-12)
    reference = stats.ttest_1samp(by_hand, test.target)
    np.testing.assert_allclose([test.statistic, test.p_value], [reference.statistic, reference.pvalue], rtol=1e-9)
    data = x[0, :, 0]
    rows = trial(rng, data, LargerBeta(0.4), "roll", False, 30)
    got = factor_test(rows, data, LargerBeta(0.4), partner="roll")
    one = factor_test(rows[:16], data, LargerBeta(0.4), partner="roll")
    np.testing.assert_allclose(one.standard_error / got.standard_error, np.sqrt(30), rtol=1e-12)
    assert abs(got.statistic) < 6


def test_no_variance_at_all():
    """A swap of two examples with fixed lam leaves nothing random: met exactly, or refuted for certain."""
    x = np.array([[0.0, 2.0], [1.0, 5.0]])
    mixed = 0.2 * x + 0.8 * x[:, ::-1]
    test = batch_factor_test(mixed, x, Fixed(0.2), partner="flip", known_variance=True)
    assert (test.statistic, test.p_value) == (0.0, 1.0)
    assert batch_factor_test(mixed, x, Fixed(0.2), partner="flip", known_variance=True, target=0.7).p_value < 1e-6


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: factor_test(X, X, 1.0, lam_per="batch"), "batch_factor_test"),
        (lambda: factor_test(X[:3], X, 1.0, partner="permutation"), "whole batches"),
        (lambda: factor_test(X[:, :1], X, 1.0), "same features"),
        (lambda: factor_test(X[:, 0], X, 1.0), "same features"),
        (lambda: factor_test([], X, 1.0), "mixed"),
        (lambda: factor_test(X, X, "1"), "alpha"),
        (lambda: pair_factor_test(X[:3], X, 1.0), "same length"),
        (lambda: batch_factor_test(X, X[:, :1], 1.0), "one shape"),
        (lambda: batch_factor_test(X[:1], X[:1], 1.0, partner="flip"), "at least 2"),
        (lambda: shrink_ratio_asymptotic_var(1.0, 3.0, "mle"), "estimator"),
        (lambda: shrink_ratio_asymptotic_var(1.0, 0.5), "kurtosis"),
        (lambda: mixed_fourth_moment_ratio(1.0, 3.0, 0.0), "sphericity"),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()
