"""Temperature scaling against closed forms, a general optimiser and a model of known temperature."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from mixup_theory.experiments.metrics import example_losses
from mixup_theory.experiments.temperature import MEASURES, calibration_measures, fit_temperature, scaled_measures


def draw(rng, n, temperature, scale=2.0, k=4):
    logits = scale * rng.standard_normal((n, k))
    p = softmax(logits / temperature, axis=1)
    return logits, (rng.random((n, 1)) > p.cumsum(axis=1)).sum(axis=1).clip(max=k - 1)


@pytest.mark.parametrize("gap", [1e-3, 1.0, 50.0, 1e4])
@pytest.mark.parametrize("right", [6, 9])
def test_two_classes_of_one_gap_in_closed_form(gap, right):
    """Right with share q and log-odds g / T: the best T makes the confidence q."""
    logits, labels = np.tile([0.0, gap], (10, 1)), np.array([1] * right + [0] * (10 - right))
    wanted = gap / math.log(right / (10 - right))
    assert fit_temperature(logits, labels) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("scale", [0.1, 3.0, 40.0])
def test_against_a_general_optimiser(scale):
    logits, labels = draw(np.random.default_rng(1), 300, 1.7, scale)
    search = minimize_scalar(
        lambda log: example_losses(logits / np.exp(log), labels).mean(), bounds=(-6, 6), method="bounded",
        options={"xatol": 1e-10},
    )  # fmt: skip
    assert fit_temperature(logits, labels) == pytest.approx(np.exp(search.x), rel=1e-5)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_known_temperature_is_recovered(temperature):
    rng = np.random.default_rng(2)
    inverse = np.array([1 / fit_temperature(*draw(rng, 2000, temperature)) for _ in range(60)])
    bias = 0.005 / temperature  # of a maximum-likelihood estimate from 2000 examples
    assert abs(inverse.mean() - 1 / temperature) < 6 * inverse.std(ddof=1) / np.sqrt(60) + bias


def test_scaling_all_logits_scales_the_temperature():
    logits, labels = draw(np.random.default_rng(3), 200, 1.0)
    assert fit_temperature(7 * logits, labels) == pytest.approx(7 * fit_temperature(logits, labels), rel=1e-9)
    assert fit_temperature(logits + 100, labels) == pytest.approx(fit_temperature(logits, labels), rel=1e-9)


def test_logits_worse_than_none_and_logits_never_wrong():
    logits = np.tile([1.0, 0.0], (4, 1))
    assert fit_temperature(logits, np.array([0, 1, 1, 1])) == math.inf
    with pytest.raises(ValueError, match="Hold out more examples"):
        fit_temperature(logits, np.zeros(4, dtype=int))


def test_measures_before_and_after():
    rng = np.random.default_rng(4)
    test, held_out = draw(rng, 3000, 3.0), draw(rng, 1000, 3.0)
    row = scaled_measures(*test, *held_out)
    before, after = calibration_measures(*test), calibration_measures(test[0] / fit_temperature(*held_out), test[1])
    assert set(before) == {*MEASURES, "nll", "accuracy"}
    for name, value in before.items():
        assert row[name] == value
        assert row[f"scaled_{name}"] == pytest.approx(after[name], rel=1e-12)
    assert row["accuracy"] == row["scaled_accuracy"]
    assert row["temperature"] == pytest.approx(3, rel=0.1)
    assert row["scaled_ece"] < 0.2 * row["ece"]
    assert row["scaled_nll"] < row["nll"]
    assert row["overconfidence"] > 0.1 > abs(row["scaled_overconfidence"])


def test_a_useless_network_is_made_uniform():
    logits, labels = np.tile([1.0, 0.0], (4, 1)), np.array([0, 1, 1, 1])
    row = scaled_measures(logits, labels, logits, labels)
    assert row["scaled_nll"] == pytest.approx(math.log(2))
