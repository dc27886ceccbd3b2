"""Confidence in the trainer: where the optimum is known in closed form, trained runs meet it, however they mix."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mixup_theory.cutmix import cutmix_agreement, label_agreement
from mixup_theory.experiments import training
from mixup_theory.experiments.config import RunConfig, grid
from mixup_theory.experiments.datasets import Streams, load_dataset, run_dataset
from mixup_theory.experiments.draws import draw_epoch
from mixup_theory.experiments.in_process import train
from mixup_theory.factor_test import batch_factor_test
from mixup_theory.finite_batch import fixed_point_probability
from mixup_theory.gaussian_mixture import gmm_coefficients
from mixup_theory.moments import shrink_factor

SEEDS, SIZE, ALPHA, KAPPA = 12, 64, 0.5, 0.3
LINEAR = RunConfig(
    hidden=(), loss="squared_error", epochs=40, batch_size=SIZE, learning_rate=0.03, lr_schedule="cosine",
    momentum=0.0, weight_decay=KAPPA, outputs=("weights",), dtype="float64",
)  # fmt: skip
CONVENTIONS = {
    "erm": {"method": "erm", "alpha": 0.0},
    "batch": {},
    "sample": {"lam_per": "sample"},
    "pair": {"lam_per": "pair", "partner": "flip"},
    "max": {"lam_max": True, "lam_per": "sample"},
    "independent": {"partner": "independent"},
    "derangement": {"partner": "derangement", "lam_per": "sample"},
    "first": {"label_mixing": "first"},
    "hard": {"label_mixing": "hard", "lam_per": "sample"},
    "cutmix": {"method": "cutmix", "lam_per": "sample"},
    "cutmix-batch": {"method": "cutmix"},
}


def with_seeds(config):
    return grid(config, seed=range(SEEDS))


def coefficients(results):
    """Return slope [SEEDS, K, D] and intercept [SEEDS, K] of trained linear models."""
    return tuple(np.stack([r.arrays[f"weights.0.{name}"] for r in results]) for name in ("weight", "bias"))


def least_squares_optimum(config):
    """Return the minimiser [K, D + 1] of mixed least squares with every coefficient penalised (theory B.1, B.8, F.1).

    Two partners of one batch are one point with probability P, else two different ones: their correlation is rho.
    """
    data = load_dataset("digits")
    x, y, n = data.x_train, np.eye(10)[data.y_train], len(data.x_train)
    self_pairs = fixed_point_probability(SIZE, config.partner)
    rho = self_pairs - (1 - self_pairs) / (n - 1)
    inputs = labels = 1.0 if config.method == "erm" else shrink_factor(ALPHA)
    if config.method == "cutmix":
        inputs = cutmix_agreement(ALPHA, 8, 8)
        labels = label_agreement(inputs)[:, None]
    if config.label_mixing == "first":
        labels = 0.5  # Cov(lam x + (1 - lam) x', y) = E lam Cov(x, y)
    inputs, labels = (part + (1 - part) * rho for part in (inputs, labels))
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    covariance = inputs * np.cov(x.T, bias=True)
    cross = labels * ((x - mean_x).T @ (y - mean_y) / n)
    mean = np.append(mean_x, 1.0)
    second = np.pad(covariance, (0, 1)) + np.outer(mean, mean) + KAPPA * np.eye(65)
    return np.linalg.solve(second, np.pad(cross, ((0, 1), (0, 0))) + np.outer(mean, mean_y)).T


def test_least_squares_meets_its_closed_form_for_every_convention():
    configs = {
        name: LINEAR.replace(**{"method": "mixup", "alpha": ALPHA, **fields}) for name, fields in CONVENTIONS.items()
    }
    results = iter(train([run for config in configs.values() for run in with_seeds(config)]))
    optima = {name: least_squares_optimum(config) for name, config in configs.items()}
    for name, optimum in optima.items():
        slope, intercept = coefficients([next(results) for _ in range(SEEDS)])
        trained = np.concatenate([slope, intercept[:, :, None]], axis=2)
        # along random directions, and towards the optimum of ERM (of mixup, for ERM)
        away = optima["batch" if name == "erm" else "erm"] - optimum
        directions = np.random.default_rng(0).normal(size=(12, 10, 65))
        directions[0] = away / np.linalg.norm(away)
        gaps = np.einsum("skd,mkd->sm", trained - optimum, directions)
        error = gaps.std(axis=0, ddof=1) / np.sqrt(SEEDS)
        assert np.all(np.abs(gaps.mean(axis=0)) < 6 * error), (name, gaps.mean(axis=0) / error)
        assert np.linalg.norm(away) / error[0] > 50, name  # a test that could fail


def test_gaussian_mixture_meets_its_temperature_for_every_convention():
    base = RunConfig(
        dataset="gaussian-mixture", num_train=4000, hidden=(), method="mixup", alpha=1.0, epochs=12, batch_size=50,
        learning_rate=0.2, lr_schedule="cosine", momentum=0.9, outputs=("weights",),
    )  # fmt: skip
    names = ("batch", "sample", "pair", "max", "derangement")
    results = iter(train([run for name in names for run in with_seeds(base.replace(**CONVENTIONS[name]))]))
    predicted = gmm_coefficients(1.0, np.array([2.0, 0.0]), np.eye(2))  # theory F.4, D = 2: (1.438, 0)
    for name in names:
        slope, intercept = coefficients([next(results) for _ in range(SEEDS)])
        found = np.column_stack([slope[:, 1] - slope[:, 0], intercept[:, 1] - intercept[:, 0]])
        error = found.std(axis=0, ddof=1) / np.sqrt(SEEDS)
        assert np.all(np.abs(found.mean(axis=0) - [*predicted, 0.0]) < 6 * error), (name, found.mean(axis=0), error)
        assert error[0] < 0.05  # ERM's slope is 4


@pytest.mark.parametrize("name", ["batch", "sample", "pair", "max", "derangement"])
def test_a_recorded_epoch_passes_the_covariance_test(name, monkeypatch):
    seen = []

    class Spy(training.StackedMLP):
        def gradient(self, x, y, **options):
            seen.append(x[0].clone())
            return super().gradient(x, y, **options)

    monkeypatch.setattr(training, "StackedMLP", Spy)
    config = LINEAR.replace(method="mixup", alpha=1.0, epochs=1, batch_size=16, **CONVENTIONS[name])
    train([config])
    data, streams = run_dataset(config), Streams(config.seed)
    original = data.x_train[draw_epoch(config, streams, len(data.x_train), 16, 0).position]
    scheme = {"partner": config.partner, "lam_per": config.lam_per, "lam_max": config.lam_max}
    test = batch_factor_test(torch.stack(seen).numpy(), original, 1.0, **scheme)
    assert test.num_units == 81
    assert test.p_value > 1e-3
    wrong = batch_factor_test(torch.stack(seen).numpy(), original, 1.0, **scheme, target=0.9)
    assert wrong.p_value < 1e-6
