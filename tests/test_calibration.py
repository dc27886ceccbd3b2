"""Calibration measures against torchmetrics, cases by hand and models whose calibration is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torchmetrics.classification import BinaryCalibrationError, MulticlassCalibrationError

from mixup_theory.experiments.calibration import (
    check_predictions,
    class_wise_error,
    expected_calibration_error,
    overconfidence,
    reliability_curve,
    squared_calibration_error,
)
from mixup_theory.experiments.metrics import METRICS


def draw(rng, n=400, k=5, scale=2.0, temperature=1.0):
    """Logits, and labels drawn from softmax(logits / temperature): calibrated at that temperature."""
    logits = scale * rng.standard_normal((n, k))
    p = softmax(logits / temperature, axis=1)
    return logits, (rng.random((n, 1)) > p.cumsum(axis=1)).sum(axis=1).clip(max=k - 1)


@pytest.mark.parametrize("num_bins", [1, 7, 15, 40])
def test_error_is_that_of_torchmetrics(num_bins):
    logits, labels = draw(np.random.default_rng(num_bins), k=10, temperature=2.0)
    other = MulticlassCalibrationError(10, n_bins=num_bins, norm="l1")
    wanted = other(torch.from_numpy(softmax(logits, axis=1)), torch.from_numpy(labels))
    assert expected_calibration_error(logits, labels, num_bins) == pytest.approx(
        float(wanted), abs=1e-6
    )  # it computes in float32


@pytest.mark.parametrize("num_bins", [5, 15])
def test_class_wise_error_is_the_mean_of_torchmetrics_binary_ones(num_bins):
    logits, labels = draw(np.random.default_rng(3), temperature=0.5)
    p, other = torch.from_numpy(softmax(logits, axis=1)), BinaryCalibrationError(num_bins, "l1")
    wanted = np.mean([float(other(p[:, k], torch.from_numpy(labels == k).long())) for k in range(5)])
    assert class_wise_error(logits, labels, num_bins) == pytest.approx(wanted, abs=1e-6)


def test_a_confidence_of_one_joins_the_last_bin():
    logits = np.array([[800.0, 0.0], [np.log(97.0), np.log(3.0)]])  # confidence 1, wrong; 0.97, right: one bin
    assert expected_calibration_error(logits, np.array([1, 0])) == pytest.approx(abs(1 - 0.03) / 2)


def test_bins_of_width_by_hand():
    p = np.array([[0.55, 0.45], [0.95, 0.05], [0.95, 0.05], [0.85, 0.15]])
    labels = np.array([1, 0, 1, 0])
    # bins of a tenth: .55 wrong, .95 half right, .85 right
    wanted = (0.55 + 2 * 0.45 + 0.15) / 4
    assert expected_calibration_error(np.log(p), labels, 10) == pytest.approx(wanted)
    assert overconfidence(np.log(p), labels) == pytest.approx((0.55 + 0.95 + 0.95 + 0.85) / 4 - 0.5)


def test_bins_of_mass_by_hand():
    p = np.array([[0.95, 0.05], [0.55, 0.45], [0.85, 0.15], [0.65, 0.35]])
    labels = np.array([1, 0, 0, 1])
    low = abs((0.55 + 0.65) - 1)  # .55 right, .65 wrong
    high = abs((0.85 + 0.95) - 1)
    assert expected_calibration_error(np.log(p), labels, 2, "mass") == pytest.approx((low + high) / 4)
    assert expected_calibration_error(np.log(p), labels, 4, "mass") == pytest.approx((0.45 + 0.65 + 0.15 + 0.95) / 4)


def test_square_without_diagonal_is_the_mean_over_pairs():
    logits, labels = draw(np.random.default_rng(5), n=60)
    p = softmax(logits, axis=1)
    gap = p.max(axis=1) - (p.argmax(axis=1) == labels)
    order, total = np.argsort(p.max(axis=1)), 0.0
    for part in np.array_split(order, 3):
        pairs = [gap[i] * gap[j] for i in part for j in part if i != j]
        total += len(part) / 60 * np.mean(pairs)
    assert squared_calibration_error(logits, labels, 3) == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("bins", ["mass", "width"])
def test_square_has_mean_zero_on_a_calibrated_model_and_the_plain_error_has_not(bins):
    rng = np.random.default_rng(6)
    draws = [draw(rng, n=100) for _ in range(4000)]
    values = np.array([squared_calibration_error(*d, bins=bins) for d in draws])
    assert abs(values.mean()) < 6 * values.std() / np.sqrt(len(values))
    plain = np.array([expected_calibration_error(*d, bins=bins) ** 2 for d in draws[:200]])
    assert plain.mean() > 100 * abs(values.mean())


def test_square_is_unbiased_on_a_model_of_known_error():
    """Confidence 0.9 and accuracy 0.8 everywhere: the squared error is 0.01."""
    rng, n = np.random.default_rng(7), 40
    logits = np.tile(np.log([0.9, 0.1]), (n, 1))
    values = np.array([squared_calibration_error(logits, (rng.random(n) > 0.8) * 1) for _ in range(4000)])
    assert abs(values.mean() - 0.01) < 6 * values.std() / np.sqrt(len(values))


def test_sign_of_the_miscalibration():
    rng = np.random.default_rng(8)
    for temperature, sign in ((3.0, 1), (0.3, -1)):
        assert sign * overconfidence(*draw(rng, n=2000, temperature=temperature)) > 0.05


def test_curve_by_hand_and_pooled_over_runs():
    p = np.array([[0.55, 0.45], [0.95, 0.05], [0.93, 0.07], [0.75, 0.25]])
    labels, rng = np.array([1, 0, 1, 0]), np.random.default_rng(9)
    curve = reliability_curve(np.log(p), labels, rng, num_bins=10)
    np.testing.assert_allclose(curve.confidence, [0.55, 0.75, 0.94])
    np.testing.assert_allclose(curve.accuracy, [0, 1, 0.5])
    np.testing.assert_allclose(curve.share, [0.25, 0.25, 0.5])
    other = reliability_curve(np.log([p, p, p]), labels, rng, num_bins=10)
    np.testing.assert_allclose(other.accuracy, curve.accuracy)
    np.testing.assert_allclose(other.share, curve.share)
    gaps = curve.share @ abs(curve.confidence - curve.accuracy)
    assert gaps == pytest.approx(expected_calibration_error(np.log(p), labels, 10))


def test_band_is_that_of_a_binomial_share():
    rng, n = np.random.default_rng(10), 1000
    logits = np.tile(np.log([0.8, 0.2]), (n, 1))
    labels = np.repeat([0, 1], [700, 300])
    curve = reliability_curve(logits, labels, rng, num_draws=4000)
    half = 1.96 * np.sqrt(0.7 * 0.3 / n)
    np.testing.assert_allclose([curve.low[0], curve.high[0]], [0.7 - half, 0.7 + half], atol=0.1 * half)
    again = reliability_curve(np.stack([logits] * 3), labels, rng, num_draws=4000)  # the same examples three times
    np.testing.assert_allclose([again.low[0], again.high[0]], [0.7 - half, 0.7 + half], atol=0.1 * half)


def test_columns_are_these_functions():
    logits, labels = draw(np.random.default_rng(11))
    wanted = {
        "ece": expected_calibration_error(logits, labels, 15, "width"),
        "mass_ece": expected_calibration_error(logits, labels, 15, "mass"),
        "class_ece": class_wise_error(logits, labels, 15, "width"),
        "squared_ece": squared_calibration_error(logits, labels, 15, "mass"),
        "overconfidence": overconfidence(logits, labels),
    }
    assert {name: METRICS[name](logits, labels) for name in wanted} == wanted


@pytest.mark.parametrize(
    ("logits", "labels", "text"),
    [
        ([[1.0]], [0], "at least 2"),
        ([[1.0, 0.0]], [0, 1], "1 whole numbers"),
        ([[1.0, 0.0]], [2], "in 0..1, got 2..2"),
        ([[1.0, 0.0]], [0.0], "whole numbers"),
        ([[np.nan, 0.0]], [0], "finite"),
    ],
)
def test_what_does_not_fit_is_named(logits, labels, text):
    with pytest.raises(ValueError, match=text):
        check_predictions(logits, np.array(labels))


def test_other_arguments_out_of_range():
    logits, labels = draw(np.random.default_rng(0), n=4)
    with pytest.raises(ValueError, match="`bins` must be one of width, mass"):
        expected_calibration_error(logits, labels, bins="equal")
    with pytest.raises(ValueError, match="`num_bins`"):
        class_wise_error(logits, labels, 0)
    with pytest.raises(ValueError, match="`level`"):
        reliability_curve(logits, labels, np.random.default_rng(0), level=1.0)
