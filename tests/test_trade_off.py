"""Tests of experiments/trade_off.py: intervals against scipy, the line against np.interp and the bootstrap's spread."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mixup_theory.experiments.trade_off import gain_over_line, mean_text


def simulated(num_units, seed=0, noise=0.01):
    rng = np.random.default_rng(seed)
    means = {"short": (0.70, 0.55), "middle": (0.80, 0.60), "long": (0.90, 0.75), "mixup": (0.83, 0.62)}
    accuracy = {name: rng.normal(mean, noise, num_units) for name, (mean, _) in means.items()}
    leakage = {name: rng.normal(mean, noise, num_units) for name, (_, mean) in means.items()}
    return pd.DataFrame(accuracy), pd.DataFrame(leakage)


LINE = ["long", "short", "middle"]


def test_mean_text_is_scipys_t_interval():
    x = np.random.default_rng(1).normal(size=7)
    low, high = stats.t.interval(0.95, 6, loc=x.mean(), scale=stats.sem(x))
    assert mean_text(x, 6) == f"{(low + high) / 2:.6f} ± {(high - low) / 2:.6f}"
    assert mean_text(np.append(x, np.nan), 6) == mean_text(x, 6)
    assert mean_text([1.0, 1.0], sign=True) == "+1.000 ± 0.000"
    with pytest.raises(ValueError, match="`values` must hold a number"):
        mean_text([np.nan])


def test_the_mean_is_the_line_at_the_defences_accuracy():
    accuracy, leakage = simulated(40)
    order = ["short", "middle", "long"]
    line = np.interp(accuracy["mixup"].mean(), accuracy[order].mean(), leakage[order].mean())
    gain = gain_over_line(accuracy, leakage, "mixup", LINE)
    assert gain.mean() == pytest.approx(line - leakage["mixup"].mean(), abs=1e-12)


def test_the_spread_is_that_of_the_difference_over_repetitions():
    found = [gain_over_line(*simulated(30, seed), "mixup", LINE) for seed in range(400)]
    stated = np.mean([gain.sem() for gain in found])
    true = np.std([gain.mean() for gain in found], ddof=1)
    assert stated == pytest.approx(true, rel=6 / np.sqrt(2 * 400))


@pytest.mark.parametrize(("at", "end"), [(0.5, "short"), (0.95, "long")])
def test_beyond_an_end_the_end_is_taken(at, end):
    accuracy, leakage = simulated(5)
    accuracy["mixup"] = at
    expected = leakage[end] - leakage["mixup"]
    pd.testing.assert_series_equal(gain_over_line(accuracy, leakage, "mixup", LINE), expected)


def test_a_rival_beaten_in_both_is_left_out_and_ties_are_no_slope():
    accuracy, leakage = simulated(5)
    accuracy["worse"], leakage["worse"] = accuracy["middle"] - 0.02, leakage["middle"] + 0.1
    accuracy["twin"], leakage["twin"] = accuracy["middle"], leakage["middle"] + 0.1
    got = gain_over_line(accuracy, leakage, "mixup", [*LINE, "worse", "twin"])
    pd.testing.assert_series_equal(got, gain_over_line(accuracy, leakage, "mixup", LINE))


def test_one_rival_is_a_difference_and_units_are_those_all_have():
    accuracy, leakage = simulated(6)
    accuracy.loc[4:, "mixup"] = np.nan
    gain = gain_over_line(accuracy, leakage, "mixup", ["long"])
    np.testing.assert_array_equal(gain, (leakage["long"] - leakage["mixup"])[:4])
    assert gain.index.tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="`line` must be rivals that share units"):
        gain_over_line(accuracy, leakage, "mixup", [])
    with pytest.raises(ValueError, match="`line` must be rivals that share units"):
        gain_over_line(accuracy.assign(mixup=np.nan), leakage, "mixup", LINE)
