"""Noise of mixed pairs on networks: on a linear model the closed forms, on a network loops over autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mixup_theory.gradient_noise import centred_gradient_moments, gradient_noise_coefficients
from mixup_theory.gradients import hard_label_extra_variance
from mixup_theory.jackknife import Estimate
from mixup_theory.laws import LargerBeta, as_law
from mixup_theory.network_gradients import mixup_gradient_noise
from mixup_theory.network_pairs import (
    NoiseParts,
    hard_label_noise,
    mixup_noise_parts,
    pair_gradient_noise,
    shared_example_covariance,
)
from mixup_theory.pair_gradients import pair_gradient_covariance, pair_gradient_mean
from mixup_theory.quadrature import gauss_rule
from mixup_theory.weights import var_q


def half_square(outputs, targets):
    return 0.5 * ((outputs.squeeze(-1) - targets) ** 2).mean()


@pytest.fixture
def regression():
    rng = np.random.default_rng(50)
    x, noise = rng.normal(size=(40, 2)), rng.normal(0, 0.5, 40)
    x = x - x.mean(axis=0)
    y = x @ np.array([1.0, -0.5]) + noise - noise.mean()
    theta = np.array([0.2, 0.7])
    model = torch.nn.Linear(2, 1, bias=False).double()
    model.weight.data = torch.tensor(theta)[None]
    return model, x, y, theta


@pytest.fixture
def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3)).double()


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0, 50.0, np.inf])
def test_pair_noise_of_a_linear_model_is_the_closed_form(regression, alpha):
    model, x, y, theta = regression
    mean, trace = pair_gradient_noise(model, half_square, torch.tensor(x[:2]), torch.tensor(y[:2]), alpha)
    pair = (x[0], x[1], y[0], y[1], theta, alpha)
    np.testing.assert_allclose(mean, pair_gradient_mean(*pair), rtol=1e-10)
    np.testing.assert_allclose(trace, np.trace(pair_gradient_covariance(*pair)), rtol=1e-9, atol=1e-25)


def flat_gradient(model, x, y):
    parts = torch.autograd.grad(F.cross_entropy(model(x[None]), y[None]), list(model.parameters()))
    return torch.cat([part.ravel() for part in parts]).numpy()


def test_pair_noise_of_a_network_against_a_loop(network):
    x, y = torch.tensor(np.random.default_rng(51).normal(size=(2, 4))), torch.eye(3, dtype=torch.float64)[[0, 2]]
    nodes, weights = gauss_rule(64, 0.6)
    gradients = np.array([flat_gradient(network, t * x[0] + (1 - t) * x[1], t * y[0] + (1 - t) * y[1]) for t in nodes])
    mean = weights @ gradients
    trace = sum(w * np.sum((g - mean) ** 2) for w, g in zip(weights, gradients, strict=True))
    got = pair_gradient_noise(network, F.cross_entropy, x, torch.tensor([0, 2]), 0.6, num_classes=3)
    np.testing.assert_allclose(got[0], mean, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(got[1], trace, rtol=1e-10)
    few = pair_gradient_noise(network, F.cross_entropy, x, torch.tensor([0, 2]), 0.6, num_classes=3, num_nodes=16)
    np.testing.assert_allclose(few[1], trace, rtol=1e-6)  # a smooth network needs few nodes


def test_hard_label_noise_of_linear_models_is_the_closed_form(regression):
    model, x, y, _ = regression
    label = (y > 0).astype(float)
    rng = np.random.default_rng(52)
    got = hard_label_noise(model, half_square, torch.tensor(x), torch.tensor(label), 0.5, rng, num_pairs=4000)
    assert abs(got.value - hard_label_extra_variance(x, label, 0.5)) < 6 * got.standard_error
    softmax = torch.nn.Linear(2, 3, bias=False).double()
    classes = np.arange(40) % 3
    got = hard_label_noise(
        softmax, F.cross_entropy, torch.tensor(x), torch.tensor(classes), 0.5, rng, num_pairs=4000, num_classes=3
    )
    assert abs(got.value - hard_label_extra_variance(x, np.eye(3)[classes], 0.5)) < 6 * got.standard_error
    assert got.standard_error < 0.06 * got.value


def test_hard_label_noise_of_a_network_against_a_loop(network):
    data = np.random.default_rng(53)
    x, y = torch.tensor(data.normal(size=(10, 4))), torch.eye(3, dtype=torch.float64)[data.integers(0, 3, 10)]
    got = hard_label_noise(network, F.cross_entropy, x, y, 1.0, np.random.default_rng(54), num_pairs=20, chunk_size=7)
    rng = np.random.default_rng(54)
    first, second = rng.integers(0, 10, (2, 20))
    values = []
    for i, j, t in zip(first, second, as_law(1.0).sample(rng, 20), strict=True):
        mixed = t * x[i] + (1 - t) * x[j]
        one, two = flat_gradient(network, mixed, y[i]), flat_gradient(network, mixed, y[j])
        mean = t * one + (1 - t) * two
        values.append(t * np.sum((one - mean) ** 2) + (1 - t) * np.sum((two - mean) ** 2))
    np.testing.assert_allclose(got.value, np.mean(values), rtol=1e-10)
    np.testing.assert_allclose(got.standard_error, np.std(values, ddof=1) / np.sqrt(20), rtol=1e-10)


def test_noise_parts_of_a_linear_model_are_the_closed_forms(regression):
    model, x, y, theta = regression
    alpha = 0.8
    rng = np.random.default_rng(55)
    parts = mixup_noise_parts(
        model, half_square, torch.tensor(x), torch.tensor(y), alpha, rng, pairs_per_block=200, num_nodes=4
    )
    moments = centred_gradient_moments(x, y, theta)
    traces = np.trace(moments.covariance), np.trace(moments.cross), moments.mean @ moments.mean
    one = gradient_noise_coefficients(alpha, 1, partner="fresh", lam_per="sample")
    pairs = [
        np.trace(pair_gradient_covariance(x[i], x[j], y[i], y[j], theta, alpha)) for i in range(40) for j in range(40)
    ]
    floor = var_q(alpha) * traces[2]
    expected = {
        "per_example": one.trace(*traces),
        "given_pair": np.mean(pairs),
        "given_lam": one.trace(*traces) - floor,
        "floor": floor,
        "mean_squared": one.mean_factor**2 * traces[2],
    }
    for name, value in expected.items():
        got = getattr(parts, name)
        assert abs(got.value - value) < 6 * got.standard_error, name
        assert got.standard_error < 0.1 * value, name
    total = parts.given_lam.value + parts.floor.value
    np.testing.assert_allclose(parts.per_example.value, total, rtol=1e-12)
    shared = gradient_noise_coefficients(alpha, 100, partner="fresh").trace(*traces)
    error = parts.given_lam.standard_error / 100 + parts.floor.standard_error
    assert abs(parts.batch_trace(100) - shared) < 6 * error
    assert error < 0.1 * floor < 0.1 * shared


def test_noise_parts_of_a_network_against_loops_over_pairs(network):
    data = np.random.default_rng(59)
    x, y = torch.tensor(data.normal(size=(9, 4))), torch.eye(3, dtype=torch.float64)[data.integers(0, 3, 9)]
    parts = mixup_noise_parts(
        network, F.cross_entropy, x, y, 0.5, np.random.default_rng(60), num_blocks=3, pairs_per_block=2, num_nodes=4
    )
    rng = np.random.default_rng(60)
    pairs = np.concatenate([rng.integers(0, 9, (2, 2)).T for _ in range(3)])
    nodes, weights = gauss_rule(4, 0.5)
    g = np.array(
        [
            [flat_gradient(network, t * x[i] + (1 - t) * x[j], t * y[i] + (1 - t) * y[j]) for t in nodes]
            for i, j in pairs
        ]
    )
    mean = np.einsum("k,rkp->rp", weights, g)
    different = [(r, s) for r in range(6) for s in range(6) if r != s]
    signal = np.mean([mean[r] @ mean[s] for r, s in different])
    centred = g - mean[:, None]
    floor = np.mean([sum(w * centred[r, k] @ centred[s, k] for k, w in enumerate(weights)) for r, s in different])
    second = np.mean(np.einsum("k,rkp->r", weights, g**2))
    expected = {
        "per_example": second - signal,
        "given_pair": np.mean(np.einsum("k,rkp->r", weights, centred**2)),
        "given_lam": second - signal - floor,
        "floor": floor,
        "mean_squared": signal,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(parts, name).value, value, rtol=1e-10, err_msg=name)


def test_noise_parts_predict_the_noise_of_whole_batches(network):
    data = np.random.default_rng(56)
    x, y = torch.tensor(data.normal(1, 1, (30, 4))), torch.tensor(data.integers(0, 8, 30) // 7)  # one class rules
    parts = mixup_noise_parts(
        network, F.cross_entropy, x, y, 0.5, np.random.default_rng(57), pairs_per_block=80, num_classes=3
    )
    for lam_per in ("batch", "sample"):
        got = mixup_gradient_noise(
            network,
            F.cross_entropy,
            x,
            y,
            0.5,
            np.random.default_rng(58),
            batch_size=16,
            num_batches=1500,
            chunk_size=500,
            partner="fresh",
            lam_per=lam_per,
            num_classes=3,
        )
        error = np.hypot(got.trace.standard_error, parts.per_example.standard_error / 16 + parts.floor.standard_error)
        assert abs(got.trace.value - parts.batch_trace(16, lam_per)) < 6 * error
        assert error < 0.1 * got.trace.value


@pytest.mark.parametrize(("lam_per", "lam_max"), [("batch", False), ("sample", False), ("sample", True)])
def test_shared_example_covariance_of_a_linear_model_is_the_closed_form(regression, lam_per, lam_max):
    model, x, y, theta = regression
    got = shared_example_covariance(
        model, half_square, torch.tensor(x), torch.tensor(y), 0.8, np.random.default_rng(61),
        lam_per=lam_per, lam_max=lam_max, num_examples=4000, chunk_size=None,
    )  # fmt: skip
    law = LargerBeta(0.8) if lam_max else as_law(0.8)
    factor = law.mean_p_squared if lam_per == "batch" else law.moment(2) * law.moment(0, 2)
    exact = factor * np.trace(centred_gradient_moments(x, y, theta).covariance)
    assert abs(got.value - exact) < 6 * got.standard_error
    assert got.standard_error < 0.1 * exact


def test_shared_example_covariance_of_a_network_is_that_of_all_chains(network):
    data = np.random.default_rng(62)
    x, y = torch.tensor(data.normal(size=(5, 4))), torch.eye(3, dtype=torch.float64)[data.integers(0, 3, 5)]
    nodes, weights = gauss_rule(8, 0.5)  # the network is smooth
    g = np.array(
        [
            [
                [flat_gradient(network, t * x[i] + (1 - t) * x[j], t * y[i] + (1 - t) * y[j]) for t in nodes]
                for j in range(5)
            ]
            for i in range(5)
        ]
    )
    as_second, as_first = (v - v.mean(axis=0) for v in (g.mean(axis=0), g.mean(axis=1)))  # [example, node, parameter]
    products = np.einsum("bkp,blp->kl", as_second, as_first) / 5
    exact = {"batch": weights @ np.diag(products), "sample": weights @ products @ weights}
    for seed, (lam_per, value) in enumerate(exact.items()):
        got = shared_example_covariance(
            network, F.cross_entropy, x, y, 0.5, np.random.default_rng(63 + seed), lam_per=lam_per,
            num_examples=2000, chunk_size=None,
        )  # fmt: skip
        assert abs(got.value - value) < 6 * got.standard_error
        assert got.standard_error < 0.1 * value


@pytest.mark.parametrize(("lam_per", "lam_max"), [("batch", False), ("sample", True)])
def test_shared_example_covariance_against_a_loop(network, lam_per, lam_max):
    data = np.random.default_rng(65)
    x, y = torch.tensor(data.normal(size=(9, 4))), torch.eye(3, dtype=torch.float64)[data.integers(0, 3, 9)]
    got = shared_example_covariance(
        network, F.cross_entropy, x, y, 0.5, np.random.default_rng(66),
        lam_per=lam_per, lam_max=lam_max, num_examples=4, num_partners=3, chunk_size=5,
    )  # fmt: skip
    rng = np.random.default_rng(66)
    nodes, weights = gauss_rule(3, 0.5)
    lams = [np.tile(nodes, (4, 1))] * 2
    if lam_per == "sample":
        weights, lams = np.ones(3) / 3, [as_law(0.5).sample(rng, 12).reshape(4, 3) for _ in range(2)]
        lams = [np.maximum(lam, 1 - lam) for lam in lams]
    middle, (before, after) = rng.integers(0, 9, (4, 1))[:, 0], rng.integers(0, 9, (2, 4, 3))
    g = np.zeros((2, 4, 3, 43))
    for b, k in np.ndindex(4, 3):
        for side, (i, j) in enumerate([(before[b, k], middle[b]), (middle[b], after[b, k])]):
            t = lams[side][b, k]
            g[side, b, k] = flat_gradient(network, t * x[i] + (1 - t) * x[j], t * y[i] + (1 - t) * y[j])
    if lam_per == "sample":
        g, weights = np.einsum("k,sbkp->sbp", weights, g)[:, :, None], np.ones(1)
    g = g - g.mean(axis=1, keepdims=True)
    values = [sum(w * g[0, b, k] @ g[1, b, k] for k, w in enumerate(weights)) * 4 / 3 for b in range(4)]
    np.testing.assert_allclose(got.value, np.mean(values), rtol=1e-10)
    np.testing.assert_allclose(got.standard_error, np.std(values, ddof=1) / 2, rtol=1e-10)


def test_a_shared_example_adds_its_part_to_a_rolled_batch():
    parts = NoiseParts(*(Estimate(v, 0.0) for v in (5.0, 2.0, 3.0, 0.5, 1.0)))
    assert parts.batch_trace(10, "sample", shared=1.5) == pytest.approx(0.8)  # (5 + 3) / 10
    assert parts.batch_trace(10, "batch", shared=1.0) == pytest.approx(1.0)  # (3 + 2) / 10 + 1 / 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_blocks": 2}, "`num_blocks`"),
        ({"pairs_per_block": 0}, "`pairs_per_block`"),
        ({"num_nodes": 0}, "`num_nodes`"),
        ({"alpha": [1.0, 2.0]}, "`alpha`"),
    ],
)
def test_bad_input_is_named(regression, options, message):
    model, x, y, _ = regression
    arguments = {"alpha": 1.0, "rng": np.random.default_rng(0), **options}
    with pytest.raises(ValueError, match=message):
        mixup_noise_parts(model, half_square, torch.tensor(x), torch.tensor(y), **arguments)


def test_other_bad_input_is_named(regression):
    model, x, y, _ = regression
    x, y = torch.tensor(x), torch.tensor(y)
    with pytest.raises(ValueError, match="`x` must hold two examples"):
        pair_gradient_noise(model, half_square, x, y, 1.0)
    with pytest.raises(ValueError, match="`num_pairs`"):
        hard_label_noise(model, half_square, x, y, 1.0, np.random.default_rng(0), num_pairs=2)
    for options, message in (({"lam_per": "pair"}, "`lam_per`"), ({"num_examples": 2}, "`num_examples`")):
        with pytest.raises(ValueError, match=message):
            shared_example_covariance(model, half_square, x, y, 1.0, np.random.default_rng(0), **options)
    parts = mixup_noise_parts(model, half_square, x, y, 1.0, np.random.default_rng(0), num_blocks=3, pairs_per_block=1)
    with pytest.raises(ValueError, match="`lam_per`"):
        parts.batch_trace(4, "pair")
