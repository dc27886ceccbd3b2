"""Counterexample losses: the printed table, autograd, and PyTorch's own weighted mean."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mixup_theory.label_counterexamples import (
    LOSSES,
    gaussian_nll_gradient_gap,
    label_mixing_counterexample,
    weighted_mean_cross_entropy,
)

Z = math.log(1.5)
TABLE = [
    ("mae", Z, 1, 0, (1.08, 0.6, 0.192, 0.48)),
    ("focal", Z, 1, 0, (0.255424894373055, 0.0715186079497535, 0.287300655616909, 0.141429772719606)),
    ("gce", Z, 1, 0, (0.602289322374407, 0.599040769153066, 0.137228027478420, 0.121183609375900)),
    ("hinge", 2.0, 1, -1, (2.1, 1.8, 0.7, 0.4)),
    ("hinge", 0.5, 1, -1, (1.2, 1.2, 0.4, 0.4)),
    ("huber", 0.5, 3, -1, (1.3, 0.045, 0.4, 0.3)),
    ("squared", 0.5, 3, -1, (1.725, 0.045, 0.3, 0.3)),
    ("bce", Z, 1, 0, (0.794651199441706, 0.794651199441706, 0.3, 0.3)),
]


@pytest.mark.parametrize(("loss", "z", "y_i", "y_j", "expected"), TABLE)
def test_the_table_of_counterexamples(loss, z, y_i, y_j, expected):
    got = label_mixing_counterexample(loss, z, float(y_i), float(y_j), 0.3)
    np.testing.assert_allclose(got, expected, rtol=1e-13)


def torch_loss(loss, z, y):
    """Write each loss again, for two classes, from torch's own parts."""
    p = torch.stack([z.sigmoid(), (-z).sigmoid()])
    both = torch.stack([y, 1 - y])
    bce = F.binary_cross_entropy_with_logits(z, y, reduction="none")
    return {
        "mae": lambda: (both - p).abs().sum(dim=0),
        "focal": lambda: (y - z.sigmoid()).abs() ** 3 * bce,
        "gce": lambda: (1 - (both * p).sum(dim=0) ** 0.4) / 0.4,
        "hinge": lambda: F.relu(1 - y * z),
        "huber": lambda: F.huber_loss(z, y, reduction="none", delta=0.6),
        "squared": lambda: 0.5 * (z - y) ** 2,
        "bce": lambda: bce,
    }[loss]()


@pytest.mark.parametrize("loss", LOSSES)
def test_values_and_slopes_against_autograd(loss):
    rng = np.random.default_rng(3)
    low = -1 if loss == "hinge" else 0
    z, y_i, y_j, lam = rng.normal(0, 3, 50), rng.uniform(low, 1, 50), rng.uniform(low, 1, 50), rng.uniform(size=50)
    got = label_mixing_counterexample(loss, z, y_i, y_j, lam, gamma=3.0, q=0.4, delta=0.6)

    def both(y):
        logits = torch.tensor(z, requires_grad=True)
        values = torch_loss(loss, logits, torch.tensor(y))
        return values.detach().numpy(), torch.autograd.grad(values.sum(), logits)[0].numpy()

    one, two, mixed = both(y_i), both(y_j), both(lam * y_i + (1 - lam) * y_j)
    for k in (0, 1):
        np.testing.assert_allclose(got[2 * k], lam * one[k] + (1 - lam) * two[k], rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(got[2 * k + 1], mixed[k], rtol=1e-10, atol=1e-14)


def test_only_squared_and_logistic_loss_have_no_gap_in_slope():
    rng = np.random.default_rng(4)
    z, lam = rng.normal(0, 3, 200), rng.uniform(size=200)
    for loss in LOSSES:
        values = label_mixing_counterexample(loss, z, 1.0, 0.0, lam)
        gap = np.abs(values.slope_of_mix_of_losses - values.slope_of_loss_of_mix).max()
        assert (gap < 1e-14) == (loss in ("squared", "bce")), loss


def test_confident_logits_do_not_overflow():
    for loss in LOSSES:
        assert np.all(np.isfinite(label_mixing_counterexample(loss, [800.0, -800.0], 0.9, 0.1, 0.5)))


def test_gaussian_nll_gap_against_autograd():
    rng = np.random.default_rng(5)
    spread, y_i, y_j, lam, mean = rng.normal(size=(5, 30))
    lam = 1 / (1 + np.exp(-lam))

    def gradient(y):
        s = torch.tensor(spread, requires_grad=True)
        nll = s + 0.5 * (torch.tensor(y) - torch.tensor(mean)) ** 2 * torch.exp(-2 * s)
        return torch.autograd.grad(nll.sum(), s)[0].numpy()

    expected = lam * gradient(y_i) + (1 - lam) * gradient(y_j) - gradient(lam * y_i + (1 - lam) * y_j)
    np.testing.assert_allclose(gaussian_nll_gradient_gap(spread, y_i, y_j, lam), expected, rtol=1e-9, atol=1e-13)


def test_weighted_mean_is_what_pytorch_computes():
    rng = np.random.default_rng(6)
    z, weights = rng.normal(size=(6, 3)), np.array([0.2, 1.0, 6.0])
    y_i, y_j, lam = rng.integers(0, 3, 6), rng.integers(0, 3, 6), 0.3
    loss = torch.nn.CrossEntropyLoss(weight=torch.tensor(weights))
    got = weighted_mean_cross_entropy(z, y_i, y_j, lam, weights)
    logits = torch.tensor(z)
    mixed = torch.tensor(lam * np.eye(3)[y_i] + (1 - lam) * np.eye(3)[y_j])
    mix = lam * loss(logits, torch.tensor(y_i)) + (1 - lam) * loss(logits, torch.tensor(y_j))
    np.testing.assert_allclose(got, [mix.item(), loss(logits, mixed).item()], rtol=1e-12)
    assert abs(got.mix_of_losses - got.loss_of_mix) > 0.1
    equal = weighted_mean_cross_entropy(z, y_i, y_j, lam, np.ones(3))
    np.testing.assert_allclose(equal.mix_of_losses, equal.loss_of_mix, rtol=1e-14)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: label_mixing_counterexample("l1", 0.0, 1.0, 0.0, 0.5), "`loss` must be one of mae"),
        (lambda: label_mixing_counterexample("bce", 0.0, 2.0, 0.0, 0.5), "`y_i` must be in"),
        (lambda: label_mixing_counterexample("hinge", 0.0, 1.0, -2.0, 0.5), "`y_j` must be in"),
        (lambda: label_mixing_counterexample("bce", float("nan"), 1.0, 0.0, 0.5), "`z`"),
        (lambda: label_mixing_counterexample("bce", 0.0, 1.0, 0.0, -0.1), "`lam`"),
        (lambda: label_mixing_counterexample("gce", 0.0, 1.0, 0.0, 0.5, q=0.0), "`q`"),
        (lambda: label_mixing_counterexample("focal", 0.0, 1.0, 0.0, 0.5, gamma=0.5), "`gamma`"),
        (lambda: label_mixing_counterexample("huber", 0.0, 1.0, 0.0, 0.5, delta=0.0), "`delta`"),
        (lambda: gaussian_nll_gradient_gap("0", 1.0, 0.0, 0.5), "`log_sigma`"),
        (lambda: weighted_mean_cross_entropy([[0.0, 1.0]], [2], [0], 0.5, [1.0, 1.0]), "`y_i`"),
        (lambda: weighted_mean_cross_entropy([[0.0, 1.0]], [0.5], [0], 0.5, [1.0, 1.0]), "`y_i`"),
        (lambda: weighted_mean_cross_entropy([[0.0, 1.0]], [0], [0, 1], 0.5, [1.0, 1.0]), "`y_j`"),
        (lambda: weighted_mean_cross_entropy([[0.0, 1.0]], [0], [0], 0.5, [1.0]), "`class_weights`"),
        (lambda: weighted_mean_cross_entropy([[0.0, 1.0]], [0], [0], 0.5, [1.0, 0.0]), "`class_weights`"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
