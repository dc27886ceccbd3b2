"""The mean test against scipy and statsmodels: intervals, p-values, power, and what it refuses."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from mixup_theory.mean_test import MAX_UNITS, mean_test, miss_probability, smallest_n

SKEWED = np.random.default_rng(1).exponential(size=25)


def test_t_interval_and_p_values_are_those_of_scipy():
    values = np.random.default_rng(0).normal(0.3, 1.0, size=7)
    test = mean_test(values)
    for level in (0.8, 0.95, 0.999):
        expected = stats.ttest_1samp(values, 0).confidence_interval(level)
        np.testing.assert_allclose(test.interval(level), expected, rtol=1e-12)
    for x in (-1.0, 0.1, 0.5, 3.0):
        np.testing.assert_allclose(test.p_greater(x), stats.ttest_1samp(values, x, alternative="greater").pvalue)
        np.testing.assert_allclose(test.p_less(x), stats.ttest_1samp(values, x, alternative="less").pvalue)
    np.testing.assert_allclose(test.deviation, values.std(ddof=1), rtol=1e-13)


def test_bca_interval_is_scipys_at_the_rescaled_level():
    test, n = mean_test(SKEWED, "bca"), len(SKEWED)
    for level in (0.5, 0.9, 0.95, 0.995):
        quantile = stats.t.ppf(0.5 + level / 2, n - 1) * np.sqrt(n / (n - 1))
        expected = stats.bootstrap(
            (SKEWED,),
            np.mean,
            n_resamples=9_999,
            confidence_level=1 - 2 * stats.norm.sf(quantile),
            method="BCa",
            rng=np.random.default_rng(0),
        ).confidence_interval
        np.testing.assert_allclose(test.interval(level), expected, rtol=1e-12)


@pytest.mark.parametrize("method", ["t", "bca"])
def test_the_ends_of_an_interval_have_its_p_value(method):
    test = mean_test(SKEWED, method)
    for level in (0.5, 0.9, 0.95, 0.98):
        low, high = test.interval(level)
        # One resample in 9999 moves the bootstrap by 1e-4, which acceleration and t quantiles stretch in the tail.
        tolerance = 1e-12 if method == "t" else 8e-4
        assert test.p_greater(low) == pytest.approx((1 - level) / 2, abs=tolerance)
        assert test.p_less(high) == pytest.approx((1 - level) / 2, abs=tolerance)


@pytest.mark.parametrize("method", ["t", "bca"])
def test_p_values_are_monotone_complementary_and_know_infinity(method):
    test = mean_test(SKEWED, method)
    grid = np.linspace(0.2, 2.2, 60)
    greater = np.array([test.p_greater(x) for x in grid])
    assert np.all(np.diff(greater) >= -1e-12)
    inner = (greater > 2e-3) & (greater < 1 - 2e-3)
    less = np.array([test.p_less(x) for x in grid])
    np.testing.assert_allclose(greater[inner] + less[inner], 1, rtol=1e-9)
    assert (test.p_less(np.inf), test.p_greater(-np.inf)) == (0, 0)
    assert (test.p_less(-np.inf), test.p_greater(np.inf)) == (1, 1)


def test_bca_never_claims_more_than_its_resamples_show():
    test = mean_test(SKEWED, "bca")
    assert test.p_greater(-1e6) == 1 / 10_000
    assert 1 / 10_000 < test.p_less(1e6) < 0.01  # acceleration and t quantiles stretch the long tail


def test_the_same_values_give_the_same_bootstrap_and_it_follows_the_skew():
    low, high = mean_test(SKEWED, "bca").interval()
    assert (low, high) == mean_test(SKEWED, "bca").interval()
    assert high - SKEWED.mean() > SKEWED.mean() - low  # the long tail is on the right


@pytest.mark.parametrize(
    ("values", "method", "words"),
    [
        ([1.0], "t", "at least 2 units"),
        ([], "t", "must not be empty"),
        (np.arange(9.0), "bca", "at least 10 units"),
        ([0.1] * 6, "t", "must vary"),
        ([1 / 3, 1 / 3 + 5e-17, 1 / 3], "t", "must vary"),
        ([1.0, np.nan], "t", "finite"),
        ([1.0, np.inf], "t", "finite"),
        ([[1.0, 2.0]], "t", "1 axes"),
        ("12", "t", "finite array"),
        ([1.0, 2.0], "median", "one of t, bca"),
    ],
)
def test_what_cannot_be_judged_is_refused(values, method, words):
    with pytest.raises(ValueError, match=words):
        mean_test(values, method)


@pytest.mark.parametrize("level", [0.0, 1.0, np.nan, "0.95"])
def test_a_level_outside_the_open_unit_interval_is_refused(level):
    with pytest.raises(ValueError, match="level"):
        mean_test([1.0, 2.0, 4.0]).interval(level)


def test_miss_probability_is_one_minus_the_power_of_statsmodels():
    test = mean_test([0.1, 0.9, 0.4, 0.2, 0.8])
    for n in (3, 10, 40):
        for error in (0.05, 0.025, 0.001):
            power = TTestPower().power(test.mean / test.deviation, n, error, alternative="larger")
            assert miss_probability(test, 0.0, n, error) == pytest.approx(1 - power, abs=1e-9)
    mirrored = mean_test([-0.1, -0.9, -0.4, -0.2, -0.8])
    assert miss_probability(mirrored, 0.0, 10, 0.05, -1) == pytest.approx(miss_probability(test, 0.0, 10, 0.05))


def test_miss_probability_in_the_far_tails_and_at_infinity():
    test = mean_test([1.0, 1.001, 0.999])
    assert miss_probability(test, 0.0, 5, 0.025) == pytest.approx(0, abs=1e-12)
    assert miss_probability(test, 2.0, 5, 0.025) == 1
    assert miss_probability(test, np.inf, 5, 0.025, -1) == miss_probability(test, -np.inf, 5, 0.025) == 0
    assert miss_probability(test, np.inf, 5, 0.025) == 1


def test_smallest_n_solves_the_power_equation_of_statsmodels():
    test = mean_test([0.1, 0.9, -0.4, 0.2, 0.8, -0.3])
    for error in (0.05, 0.0025):
        wanted = TTestPower().solve_power(test.mean / test.deviation, None, error, 0.8, alternative="larger")
        assert smallest_n([partial(miss_probability, test, 0.0, error=error)]) == int(np.ceil(wanted))


def test_smallest_n_at_its_ends():
    assert smallest_n([lambda n: 0.0]) == 2
    assert smallest_n([lambda n: float(n < 17)]) == 17
    assert smallest_n([lambda n: 0.15, lambda n: 0.15]) is None
    assert smallest_n([lambda n: float(n < MAX_UNITS)]) == MAX_UNITS
