"""The decompositions add up, match hand cases, and lose their small-sample bias."""

from __future__ import annotations

import numpy as np
import pytest

from mixup_theory.bias_variance import brier_bias_variance, cross_entropy_bias_variance


def predictions(rng: np.random.Generator, R: int, n: int = 6, K: int = 3, spread: float = 0.7) -> np.ndarray:
    centre = np.random.default_rng(99).normal(size=(n, K))
    logits = centre + spread * rng.normal(size=(R, n, K))
    return logits - np.logaddexp.reduce(logits, axis=2, keepdims=True)


@pytest.mark.parametrize("decompose", [brier_bias_variance, cross_entropy_bias_variance])
def test_parts_add_up_and_loss_is_the_score(decompose: object) -> None:
    logs, y = predictions(np.random.default_rng(0), 5), np.array([0, 1, 2, 0, 1, 2])
    parts = decompose(logs, y)
    assert parts.loss == pytest.approx(parts.bias + parts.variance, rel=1e-12)
    direct = []
    for model in logs:
        for row, label in zip(np.exp(model), y, strict=True):
            brier = ((row - np.eye(3)[label]) ** 2).sum()
            direct.append(brier if decompose is brier_bias_variance else -np.log(row[label]))
    assert parts.loss == pytest.approx(np.mean(direct), rel=1e-12)


def test_the_geometric_mean_is_the_best_centre() -> None:
    """KL(c || p_r) averaged over models is least at the geometric mean."""
    logs, y = predictions(np.random.default_rng(1), 4, n=1), np.array([1])
    best = cross_entropy_bias_variance(logs, y).variance
    rng = np.random.default_rng(2)
    for _ in range(200):
        c = rng.dirichlet(np.ones(3))
        assert (c * (np.log(c) - logs[:, 0])).sum(axis=1).mean() >= best - 1e-12


def test_correction_removes_the_bias_of_few_models() -> None:
    y = np.array([0, 1, 2, 0, 1, 2])
    many = brier_bias_variance(predictions(np.random.default_rng(3), 40_000), y)
    few = [brier_bias_variance(predictions(np.random.default_rng(s), 3), y) for s in range(2000)]
    for name in ("unbiased_bias", "unbiased_variance"):
        values = np.array([getattr(f, name) for f in few])
        assert abs(values.mean() - getattr(many, name)) < 6 * values.std() / np.sqrt(len(values))
    plain = np.array([f.bias for f in few])
    assert plain.mean() - many.bias > 6 * plain.std() / np.sqrt(len(plain))


def test_equal_models_have_no_variance() -> None:
    logs = np.repeat(predictions(np.random.default_rng(4), 1), 3, axis=0)
    for decompose in (brier_bias_variance, cross_entropy_bias_variance):
        parts = decompose(logs, np.array([0, 1, 2, 0, 1, 2]))
        assert parts.variance == pytest.approx(0, abs=1e-14)
        assert parts.bias == pytest.approx(parts.loss, rel=1e-12)


def test_bad_input_is_named() -> None:
    logs, y = predictions(np.random.default_rng(5), 2), np.array([0, 1, 2, 0, 1, 2])
    with pytest.raises(ValueError, match="at least 2 training sets"):
        brier_bias_variance(logs[:1], y)
    with pytest.raises(ValueError, match="whole numbers of shape"):
        brier_bias_variance(logs, y[:3])
    with pytest.raises(ValueError, match=r"in 0\.\.2"):
        brier_bias_variance(logs, y + 1)
    with pytest.raises(ValueError, match="normalised over classes"):
        cross_entropy_bias_variance(logs + 1, y)
