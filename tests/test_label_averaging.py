"""When labels may be averaged: the verdict on each known loss, the gaps against torch, the derivations."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
import torch
import torch.nn.functional as F

from mixup_theory.label_averaging import (
    derive_gradient_commutes,
    derive_jensen_gap,
    label_average_test,
    label_jensen_gap,
)
from mixup_theory.label_counterexamples import label_mixing_counterexample

W = torch.tensor([0.5, 3.0, 1.0], dtype=torch.float64)


def focal_of_classes(z, y):
    """Linear extension of a hard-label loss: affine in y by construction."""
    log_p = F.log_softmax(z, dim=1)
    return -(y * (1 - log_p.exp()) ** 2 * log_p).sum()


def brier(z, y):
    return ((y - z.softmax(dim=1)) ** 2).sum()


def poisson_deviance(z, y):
    return (torch.xlogy(y, y) - y * z - y + z.exp()).sum()


def gaussian_nll(z, y):
    return (z[:, 1] + 0.5 * (y[:, 0] - z[:, 0]) ** 2 * torch.exp(-2 * z[:, 1])).sum()


def counts(rng, batch_size, num_outputs):
    return rng.poisson(2.0, (batch_size, num_outputs))


AFFINE = [
    (F.cross_entropy, "one_hot", True),
    (F.cross_entropy, "simplex", True),
    (F.cross_entropy, "index", True),
    (lambda z, y: F.cross_entropy(z, y, label_smoothing=0.1), "index", True),
    (lambda z, y: F.cross_entropy(z, y, weight=W, reduction="sum"), "index", True),
    (lambda z, y: F.cross_entropy(z, y, weight=W), "one_hot", True),
    (lambda z, y: F.binary_cross_entropy_with_logits(z, y, pos_weight=W), "binary", True),
    (focal_of_classes, "one_hot", True),
    (F.mse_loss, "real", False),
    (brier, "one_hot", False),
    (lambda z, y: F.kl_div(F.log_softmax(z, dim=1), y, reduction="none"), "simplex", False),
    (poisson_deviance, counts, False),
]
NOT_AFFINE = [
    (lambda z, y: (y - z.softmax(dim=1)).abs().sum(), "one_hot"),
    (
        lambda z, y: ((y - z.sigmoid()) ** 2 * F.binary_cross_entropy_with_logits(z, y, reduction="none")).sum(),
        "binary",
    ),
    (lambda z, y: (1 - (y * z.softmax(dim=1)).sum(dim=1) ** 0.7).sum() / 0.7, "one_hot"),
    (lambda z, y: F.relu(1 - y * z), "sign"),
    (F.huber_loss, "real"),
    (lambda z, y: F.cross_entropy(z, y, weight=W), "index"),
    (gaussian_nll, "real"),
]


@pytest.mark.parametrize(("loss", "labels", "loss_commutes"), AFFINE)
def test_losses_with_affine_gradient_commute(loss, labels, loss_commutes):
    result = label_average_test(loss, np.random.default_rng(0), labels=labels, num_points=60)
    assert result.gradient_commutes
    assert result.gradient_gap.relative < 1e-12
    assert result.loss_commutes == loss_commutes
    assert (result.loss_gap.relative < 1e-12) == loss_commutes


@pytest.mark.parametrize(("loss", "labels"), NOT_AFFINE)
def test_other_losses_do_not_and_say_where(loss, labels):
    result = label_average_test(loss, np.random.default_rng(0), labels=labels, num_points=60)
    assert not result.gradient_commutes
    assert not result.loss_commutes
    gap = result.gradient_gap
    assert gap.relative > 1e-3

    def gradient(y, index):
        z = torch.tensor(gap.logits, requires_grad=True)
        target = torch.tensor(y.argmax(axis=1)) if index else torch.tensor(y)
        return torch.autograd.grad(loss(z, target).sum(), z)[0].numpy()

    pure = [gradient(y, labels == "index") for y in (gap.y_i, gap.y_j)]
    at_mix = gradient(gap.lam * gap.y_i + (1 - gap.lam) * gap.y_j, index=False)
    mix = gap.lam * pure[0] + (1 - gap.lam) * pure[1]
    np.testing.assert_allclose(np.abs(mix - at_mix).max(), gap.size, rtol=1e-12)
    np.testing.assert_allclose(gap.at_mix, at_mix, rtol=1e-12)
    np.testing.assert_allclose(gap.mix, mix, rtol=1e-12)


@pytest.mark.parametrize("labels", ["one_hot", "simplex", "real", "binary", "sign", counts])
def test_the_gap_of_squared_error_is_the_jensen_gap_wherever_it_is_largest(labels):
    result = label_average_test(lambda z, y: (z - y) ** 2, np.random.default_rng(1), labels=labels)
    gap = result.loss_gap
    expected = label_jensen_gap("squared", gap.y_i, gap.y_j, gap.lam).sum()
    np.testing.assert_allclose(gap.size, expected, rtol=1e-10)


def test_a_small_violation_is_found_and_a_larger_tolerance_forgives_it():
    def loss(z, y):
        return F.cross_entropy(z, y) + 1e-5 * (z * y**3).sum()

    rng = np.random.default_rng
    assert not label_average_test(loss, rng(0), labels="simplex").gradient_commutes
    assert label_average_test(loss, rng(0), labels="simplex", tolerance=1e-3).gradient_commutes


def test_single_precision_is_judged_by_its_own_rounding():
    weight = W.float()
    result = label_average_test(
        lambda z, y: F.cross_entropy(z, y, weight=weight), np.random.default_rng(0), dtype="float32"
    )
    assert result.gradient_commutes
    assert result.gradient_gap.size > 0
    assert result.tolerance == pytest.approx(2**-11.5)


def test_one_output_and_batches_of_one():
    options = {"labels": "binary", "num_outputs": 1, "batch_size": 1}
    result = label_average_test(F.binary_cross_entropy_with_logits, np.random.default_rng(0), **options)
    assert result.gradient_commutes
    assert result.loss_commutes


@pytest.mark.parametrize(
    ("loss", "options", "message"),
    [
        (F.cross_entropy, {"labels": "soft"}, "`labels` must be one of one_hot"),
        (F.cross_entropy, {"num_outputs": 1}, "`num_outputs` must be a whole number >= 2"),
        (F.cross_entropy, {"num_points": 0}, "`num_points`"),
        (F.cross_entropy, {"scale": -1.0}, "`scale`"),
        (F.cross_entropy, {"tolerance": float("nan")}, "`tolerance`"),
        (F.cross_entropy, {"dtype": "float16"}, "`dtype`"),
        (lambda z, y: y.sum(), {}, "`loss` must be a tensor differentiable"),
        (lambda z, y: 0.0, {}, "`loss` must be a tensor differentiable"),
        (lambda z, y: torch.log(y).sum() * z.sum(), {}, "`loss` must be finite"),
    ],
)
def test_bad_input_is_named(loss, options, message):
    with pytest.raises(ValueError, match=message):
        label_average_test(loss, np.random.default_rng(0), **options)


def test_jensen_gaps_against_torch_losses():
    rng = np.random.default_rng(2)
    z = torch.tensor(rng.normal(size=(5, 3)))
    y_i, y_j, lam = rng.dirichlet(np.ones(3), 5), np.eye(3)[rng.integers(0, 3, 5)], rng.uniform(size=5)

    def gap(loss):
        rows = [loss(z, torch.tensor(y)).numpy() for y in (y_i, y_j, lam[:, None] * y_i + (1 - lam)[:, None] * y_j)]
        return lam * rows[0] + (1 - lam) * rows[1] - rows[2]

    squared = gap(lambda z, y: ((z - y) ** 2).sum(dim=1))
    kl = gap(lambda z, y: F.kl_div(F.log_softmax(z, dim=1), y, reduction="none").sum(dim=1))
    deviance = gap(lambda z, y: (torch.xlogy(y, y) - y * z - y + z.exp()).sum(dim=1))
    np.testing.assert_allclose(label_jensen_gap("squared", y_i, y_j, lam), squared, rtol=1e-12)
    np.testing.assert_allclose(label_jensen_gap("entropy", y_i, y_j, lam), kl, rtol=1e-12)
    potential = label_jensen_gap(
        lambda y: np.sum(np.where(y > 0, y * np.log(np.where(y > 0, y, 1)), 0) - y, -1), y_i, y_j, lam
    )
    np.testing.assert_allclose(potential, deviance, rtol=1e-12)


def test_the_entropy_gap_of_classes_is_the_binary_entropy_of_lam():
    lam = np.array([1e-12, 0.2, 0.5])
    expected = -lam * np.log(lam) - (1 - lam) * np.log1p(-lam)
    np.testing.assert_allclose(label_jensen_gap("entropy", [1.0, 0.0], [0.0, 1.0], lam), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("entropy", [-0.1, 1.1], [0.0, 1.0], 0.5), "`y_i`"),
        (("squared", 1.0, 0.0, 1.5), "`lam` must be in"),
        (("brier", 1.0, 0.0, 0.5), "`potential` must be one of"),
        (("squared", float("nan"), 0.0, 0.5), "`y_i`"),
    ],
)
def test_jensen_gap_names_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        label_jensen_gap(*arguments)


POINTS = [(0.3, 1.0, 0.0, 0.3), (-2.0, 0.25, 0.75, 0.9), (4.0, 0.0, 1.0, 0.5)]


@pytest.mark.parametrize("point", POINTS)
def test_derivations_end_in_the_shipped_numbers(point):
    values = dict(zip(("z", "y_i", "y_j", "lambda"), map(sp.Float, point), strict=True))
    gradient = float(derive_gradient_commutes().result.subs(values))
    shipped = label_mixing_counterexample("bce", *point)
    np.testing.assert_allclose([gradient, gradient], shipped[2:], rtol=1e-12)
    gap = float(derive_jensen_gap().result.subs(values))
    np.testing.assert_allclose(gap, label_jensen_gap("squared", *point[1:]), rtol=1e-12)


@pytest.mark.parametrize("derive", [derive_gradient_commutes, derive_jensen_gap])
def test_derivations_verify(derive):
    derive().verify()
