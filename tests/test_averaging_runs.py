"""The simulated averaging classifier against theory F.10."""

from __future__ import annotations

import numpy as np
import pytest

from mixup_theory.averaging_classifier import averaging_ece, calibrating_alpha
from mixup_theory.experiments.averaging_runs import dimension, simulate_averaging
from mixup_theory.experiments.calibration import expected_calibration_error
from mixup_theory.experiments.temperature import fit_temperature
from mixup_theory.moments import shrink_factor


def test_scores_have_the_law_of_projected_test_points():
    """Against test points drawn in all p dimensions, through their first two moments."""
    logits, labels = simulate_averaging(0.6, [1.0], np.random.default_rng(0), num_train=300, num_test=200000)
    assert logits.shape == (1, 200000, 2)
    np.testing.assert_array_equal(logits[..., 0], -logits[..., 1])
    own = np.where(labels == 1, 1, -1) * logits[0, :, 1]
    rng, p, n = np.random.default_rng(0), dimension(0.6, 300), 300  # the same training set again
    truth, y = np.full(p, 1 / np.sqrt(p)), np.repeat([1.0, -1.0], n // 2)
    theta = y @ (rng.standard_normal((n, p)) + y[:, None] * truth) / n
    x = rng.standard_normal((4000, p)) + truth
    direct = shrink_factor(1.0) * (x @ theta)
    for power in (1, 2):
        difference = np.mean(own**power) - np.mean(direct**power)
        spread = np.hypot(np.std(own**power) / np.sqrt(len(own)), np.std(direct**power) / np.sqrt(len(direct)))
        assert abs(difference) < 6 * spread


@pytest.mark.parametrize("rho", [0.6, 0.8, 0.95])
def test_error_and_temperature_are_those_predicted(rho):
    best = float(calibrating_alpha(rho))
    alphas, rng, units = [0.0, best, 8.0], np.random.default_rng(1), 8
    errors, temperatures = [], []
    for _ in range(units):
        logits, labels = simulate_averaging(rho, alphas, rng, num_train=2000, num_test=20000)
        errors.append([expected_calibration_error(z, labels) for z in logits])
        temperatures.append([fit_temperature(z, labels) for z in logits])
    p = dimension(rho, 2000)
    np.testing.assert_allclose(np.mean(errors, axis=0), averaging_ece(alphas, 1.0, 1.0, p / 2000), atol=0.012)
    wanted, spread = shrink_factor(alphas) / rho, np.std(temperatures, axis=0, ddof=1) / np.sqrt(units)
    assert np.all(np.abs(np.mean(temperatures, axis=0) - wanted) < 6 * spread + 0.005)


def test_units_differ_and_arguments_are_checked():
    rng = np.random.default_rng(2)
    first, second = (simulate_averaging(0.9, [0.0], rng, num_train=20, num_test=5)[0] for _ in range(2))
    assert not np.array_equal(first, second)
    assert dimension(0.999, 20) == 1
    with pytest.raises(ValueError, match="even"):
        simulate_averaging(0.9, [0.0], rng, num_train=21)
    with pytest.raises(ValueError, match="`rho` must be in"):
        dimension(1.0, 20)
