"""Metrics against counts done by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mixup_theory.experiments.metrics import example_losses, run_metrics


def rows_of(predicted, num_classes=3, height=2.0):
    return height * np.eye(num_classes)[predicted]


def test_every_metric_on_a_case_by_hand():
    clean = np.array([0, 1, 2, 0, 1, 2])
    given = np.array([0, 1, 2, 0, 2, 0])  # the last two are wrong
    predicted = np.array([0, 1, 2, 1, 2, 2])  # fits one wrong label, recovers one, misses one right label
    row = run_metrics(rows_of(predicted), given, clean, rows_of([0, 0]), np.array([0, 1]))
    low, high = np.log(np.exp(2) + 2) - 2, np.log(np.exp(2) + 2)
    expected = {
        "train_loss": (4 * low + 2 * high) / 6,
        "train_accuracy": 4 / 6,
        "true_loss": (4 * low + 2 * high) / 6,
        "true_accuracy": 4 / 6,
        "right_fit": 3 / 4,
        "wrong_fit": 1 / 2,
        "wrong_recovered": 1 / 2,
        "test_loss": (low + high) / 2,
        "test_nll": (low + high) / 2,
        "test_accuracy": 1 / 2,
        "test_error": 1 / 2,
        "gap": 4 / 6 - 1 / 2,
        "loss_gap": (low + high) / 2 - (4 * low + 2 * high) / 6,
    }
    assert row == pytest.approx(expected, rel=1e-12)


def test_without_wrong_labels_there_is_nothing_to_memorise():
    y = np.array([0, 1])
    row = run_metrics(rows_of(y), y, y, rows_of(y), y)
    assert np.isnan(row["wrong_fit"])
    assert np.isnan(row["wrong_recovered"])
    assert row["right_fit"] == 1


def test_squared_error_is_half_the_squared_distance():
    logits, labels = np.random.default_rng(0).normal(size=(5, 3)), np.array([0, 1, 2, 0, 1])
    expected = ((logits - np.eye(3)[labels]) ** 2).sum(axis=1) / 2
    np.testing.assert_allclose(example_losses(logits, labels, "squared_error"), expected, rtol=1e-12)
    row = run_metrics(logits, labels, labels, logits, labels, "squared_error")
    assert row["test_loss"] == pytest.approx(expected.mean())
    assert np.isnan(row["test_nll"])


def test_losses_of_huge_logits_stay_finite():
    assert example_losses(np.array([[1e4, 0.0]], dtype=np.float32), np.array([1])).tolist() == [1e4]


def test_further_metrics_by_hand():
    logits, labels = np.log([[0.7, 0.2, 0.1], [0.25, 0.5, 0.25]]), np.array([0, 2])
    row = run_metrics(logits, labels, labels, logits[:1], labels[:1], more=("brier", "confidence", "entropy"))
    brier = [0.3**2 + 0.2**2 + 0.1**2, 0.25**2 + 0.5**2 + 0.75**2]
    entropy = [-(0.7 * np.log(0.7) + 0.2 * np.log(0.2) + 0.1 * np.log(0.1)), 1.5 * np.log(2)]
    assert row["train_brier"] == pytest.approx(np.mean(brier))
    assert row["test_brier"] == pytest.approx(brier[0])
    assert row["train_confidence"] == pytest.approx(0.6)
    assert row["test_confidence"] == pytest.approx(0.7)
    assert row["train_entropy"] == pytest.approx(np.mean(entropy))
    assert row["test_entropy"] == pytest.approx(entropy[0])
    assert "train_brier" not in run_metrics(logits, labels, labels, logits, labels)
