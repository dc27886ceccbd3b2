"""Gradients of networks against autograd loops; on a linear model, against the closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mixup_theory.gradient_noise import (
    centred_gradient_moments,
    erm_noise_coefficients,
    gradient_noise_coefficients,
)
from mixup_theory.gradients import hard_label_extra_variance
from mixup_theory.network_gradients import erm_gradient_noise, mixup_gradient_noise, per_sample_gradients


def half_square(outputs, targets):
    return 0.5 * ((outputs.squeeze(-1) - targets) ** 2).mean()


def linear_model(theta):
    model = torch.nn.Linear(len(theta), 1, bias=False).double()
    model.weight.data = torch.tensor(theta)[None]
    return model


@pytest.fixture
def regression():
    """Centred data and weights far from the optimum, with all residuals of mean 0."""
    rng = np.random.default_rng(40)
    x, noise = rng.normal(size=(60, 3)), rng.normal(0, 0.5, 60)
    x = (x - x.mean(axis=0)) * np.array([1.0, 2.0, 0.5])
    y = x @ np.array([1.0, -0.5, 2.0]) + noise - noise.mean()
    theta = np.array([0.2, 0.3, -0.4])
    return linear_model(theta), x, y, theta


def tensors(*arrays):
    return [torch.tensor(a) for a in arrays]


def network(seed=0, dropout=0.0):
    torch.manual_seed(seed)
    layers = [torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Dropout(dropout), torch.nn.Linear(6, 3)]
    return torch.nn.Sequential(*layers).double()


@pytest.mark.parametrize("kind", ["index", "soft"])
@pytest.mark.parametrize("chunk_size", [None, 3])
def test_per_sample_gradients_against_an_autograd_loop(kind, chunk_size):
    model = network().eval()
    rng = np.random.default_rng(41)
    x = torch.tensor(rng.normal(size=(8, 4)))
    y = torch.tensor(rng.integers(0, 3, 8)) if kind == "index" else torch.tensor(rng.dirichlet(np.ones(3), 8))
    got = per_sample_gradients(model, F.cross_entropy, x, y, chunk_size=chunk_size)
    for k in range(8):
        parts = torch.autograd.grad(F.cross_entropy(model(x[k : k + 1]), y[k : k + 1]), list(model.parameters()))
        torch.testing.assert_close(got[k], torch.cat([part.ravel() for part in parts]), rtol=1e-12, atol=1e-14)


def test_frozen_parameters_and_buffers_are_constants():
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.BatchNorm1d(6), torch.nn.Linear(6, 3)).double().eval()
    model[0].weight.requires_grad_(False)
    x, y = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), torch.arange(5) % 3
    got = per_sample_gradients(model, F.cross_entropy, x, y)
    trainable = [p for p in model.parameters() if p.requires_grad]
    parts = torch.autograd.grad(F.cross_entropy(model(x), y), trainable)
    torch.testing.assert_close(got.mean(dim=0), torch.cat([part.ravel() for part in parts]))


def test_erm_noise_is_exact_and_reduces_to_the_closed_form(regression):
    model, x, y, theta = regression
    moments = centred_gradient_moments(x, y, theta)
    got = erm_gradient_noise(model, half_square, *tensors(x, y), batch_size=16, chunk_size=7)
    np.testing.assert_allclose(got.mean, moments.mean, rtol=1e-10)
    np.testing.assert_allclose(got.mean_squared.value, moments.mean @ moments.mean, rtol=1e-10)
    expected = erm_noise_coefficients(16).trace(np.trace(moments.covariance), 0.0, 0.0)
    np.testing.assert_allclose(got.trace.value, expected, rtol=1e-10)
    assert got.trace.standard_error == 0


SCHEMES = [
    ("permutation", "batch", False),
    ("permutation", "sample", False),
    ("independent", "batch", False),
    ("derangement", "sample", True),
    ("roll", "sample", False),
    ("flip", "batch", False),
    ("flip", "pair", False),
    ("fresh", "batch", False),
    ("fresh", "sample", True),
]


@pytest.mark.parametrize(("partner", "lam_per", "lam_max"), SCHEMES)
def test_mixup_noise_of_a_linear_model_is_the_closed_form(regression, partner, lam_per, lam_max):
    model, x, y, theta = regression
    scheme = {"partner": partner, "lam_per": lam_per, "lam_max": lam_max}
    rng = np.random.default_rng(42)
    got = mixup_gradient_noise(
        model, half_square, *tensors(x, y), 0.4, rng, batch_size=8, num_batches=3000, chunk_size=1000, **scheme
    )
    moments = centred_gradient_moments(x, y, theta)
    noise = gradient_noise_coefficients(0.4, 8, **scheme)
    h = noise.mean_factor * moments.mean
    expected = noise.trace(np.trace(moments.covariance), np.trace(moments.cross), moments.mean @ moments.mean)
    assert abs(got.trace.value - expected) < 6 * got.trace.standard_error
    assert got.trace.standard_error < 0.06 * expected
    assert abs(got.mean_squared.value - h @ h) < 6 * got.mean_squared.standard_error
    assert np.all(np.abs(got.mean - h) < 6 * np.sqrt(expected / 3000))


def test_hard_labels_add_their_variance_and_change_no_mean(regression):
    _, x, y, _ = regression
    label = (y > 0).astype(float)
    model = linear_model(np.linalg.lstsq(x, label - 0.5, rcond=None)[0])  # little noise besides the labels'
    options = {"batch_size": 8, "num_batches": 3000, "chunk_size": 1000, "partner": "fresh", "lam_per": "sample"}
    hard, soft = (
        mixup_gradient_noise(
            model, half_square, *tensors(x, label), 1.0, np.random.default_rng(43), labels=labels, **options
        )
        for labels in ("hard", "soft")
    )
    expected = hard_label_extra_variance(x, label, 1.0) / 8
    error = np.hypot(hard.trace.standard_error, soft.trace.standard_error)
    assert abs(hard.trace.value - soft.trace.value - expected) < 6 * error
    assert error < 0.3 * expected
    assert np.all(np.abs(hard.mean - soft.mean) < 6 * np.sqrt((hard.trace.value + soft.trace.value) / 3000))


def test_classes_mix_as_rows_and_draws_repeat_with_the_seed():
    model, rng = network().eval(), np.random.default_rng(44)
    x, y = torch.tensor(rng.normal(size=(20, 4))), torch.tensor(rng.integers(0, 3, 20))
    options = {"batch_size": 6, "num_batches": 10, "chunk_size": 4}

    def measure(labels, **more):
        return mixup_gradient_noise(
            model, F.cross_entropy, x, labels, 0.7, np.random.default_rng(45), **options, **more
        )

    first, again = measure(y, num_classes=3), measure(y, num_classes=3)
    rows = measure(torch.eye(3, dtype=torch.float64)[y])
    np.testing.assert_array_equal(first.mean, again.mean)
    np.testing.assert_array_equal(first.mean, rows.mean)
    assert first.trace == again.trace == rows.trace


def test_without_mixing_the_noise_is_that_of_erm():
    model, rng = network().float().eval(), np.random.default_rng(46)
    x, y = torch.tensor(rng.normal(size=(50, 4)).astype(np.float32)), torch.tensor(rng.integers(0, 3, 50))
    erm = erm_gradient_noise(model, F.cross_entropy, x, y, batch_size=8)
    got = mixup_gradient_noise(
        model, F.cross_entropy, x, y, 0.0, rng, batch_size=8, num_batches=1000, chunk_size=250, num_classes=3
    )
    assert abs(got.trace.value - erm.trace.value) < 6 * got.trace.standard_error
    assert abs(got.mean_squared.value - erm.mean_squared.value) < 6 * got.mean_squared.standard_error


def call(model=None, x=None, y=None, alpha=1.0, **options):
    x = torch.zeros(6, 4, dtype=torch.float64) if x is None else x
    y = torch.zeros(6, dtype=torch.int64) if y is None else y
    options = {"batch_size": 4, "num_classes": 3, **options}
    rng = np.random.default_rng(0)
    return mixup_gradient_noise(model or network().eval(), F.cross_entropy, x, y, alpha, rng, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"partner": "nearest"}, "`partner` must be one of"),
        ({"lam_per": "class"}, "`lam_per` must be one of"),
        ({"labels": "both"}, "`labels` must be one of soft, hard"),
        ({"batch_size": 1}, "`batch_size`"),
        ({"batch_size": 5, "partner": "flip"}, "`n` must be even"),
        ({"num_batches": 2}, "`num_batches`"),
        ({"alpha": -1.0}, "`alpha`"),
        ({"num_classes": None}, "`num_classes` must be given"),
        ({"y": torch.full((6,), 3)}, "`y` must be in 0..2"),
        ({"y": torch.zeros(5, dtype=torch.int64)}, "must have the same length"),
        ({"x": torch.zeros(6, 4, dtype=torch.float16)}, "`x` must be float32 or float64"),
        ({"model": network(dropout=0.5)}, r"Call model\.eval"),
        ({"model": torch.nn.Flatten()}, "`model` must have trainable parameters"),
    ],
)
def test_bad_input_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        call(**options)


def test_per_sample_gradients_name_bad_input():
    with pytest.raises(ValueError, match="same length"):
        per_sample_gradients(network().eval(), F.cross_entropy, torch.zeros(3, 4), torch.zeros(2))
    with pytest.raises(ValueError, match=r"Call model\.eval"):
        per_sample_gradients(torch.nn.BatchNorm1d(4), F.cross_entropy, torch.zeros(3, 4), torch.zeros(3))
