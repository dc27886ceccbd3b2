"""The hand-written gradient of stacked MLPs is the automatic one, run by run."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from mixup_theory.experiments.networks import first_weights, mlp, with_weights
from mixup_theory.experiments.stacked import StackedMLP, is_large

RUNS, SIZE, WIDTH, CLASSES = 3, 11, 6, 4


def setup(hidden, loss):
    rng = np.random.default_rng(0)
    weights = [first_weights(mlp(WIDTH, hidden, CLASSES), rng) for _ in range(RUNS)]
    x = torch.tensor(rng.normal(size=(RUNS, SIZE, WIDTH)))
    y = torch.tensor(rng.dirichlet(np.ones(CLASSES), (RUNS, SIZE)))
    return weights, StackedMLP(weights, loss, torch.float64), x, y


def reference_loss(logits, y, loss):
    if loss == "cross_entropy":
        return functional.cross_entropy(logits, y)
    return 0.5 * ((logits - y) ** 2).sum(dim=1).mean()


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("hidden", [(), (5,), (5, 7, 3)])
def test_gradient_is_the_automatic_one(hidden, loss):
    weights, stacked, x, y = setup(hidden, loss)
    for _ in range(2):  # the second time on used buffers
        losses = stacked.gradient(x, y, with_loss=True)
    blocks = stacked.spread_blocks(stacked.grads)
    for r in range(RUNS):
        net = with_weights(mlp(WIDTH, hidden, CLASSES).double(), weights[r])
        value = reference_loss(net(x[r]), y[r], loss)
        value.backward()
        assert losses[r].item() == pytest.approx(value.item(), rel=1e-12)
        for name, parameter in net.named_parameters():
            torch.testing.assert_close(blocks[name][r], parameter.grad, rtol=1e-11, atol=1e-15)
        torch.testing.assert_close(stacked.logits(x)[r], net(x[r]).detach(), rtol=1e-12, atol=1e-15)
    assert stacked.gradient(x, y) is None


def test_batches_of_another_size_get_their_own_buffers():
    weights, stacked, x, y = setup((5,), "cross_entropy")
    stacked.gradient(x, y)
    stacked.gradient(x[:, :4], y[:, :4])
    fresh = StackedMLP(weights, "cross_entropy", torch.float64)
    fresh.gradient(x[:, :4], y[:, :4])
    assert torch.equal(stacked.grads, fresh.grads)


def test_weights_and_per_run_values_land_in_their_run():
    weights, stacked, _, _ = setup((5,), "cross_entropy")
    for r in range(RUNS):
        for name, value in stacked.weights(r).items():
            np.testing.assert_array_equal(value, weights[r][name])
    for block in stacked.spread_blocks(stacked.per_run([1.0, 2.0, 3.0])).values():
        for r in range(RUNS):
            assert torch.all(block[r] == r + 1)
    assert stacked.num_params == 6 * 5 + 5 + 5 * 4 + 4


def test_a_run_of_nan_stays_alone():
    weights, stacked, x, y = setup((5, 5), "cross_entropy")
    clean = StackedMLP(weights, "cross_entropy", torch.float64)
    next(iter(stacked.spread_blocks(stacked.params).values()))[1, 0, 0] = float("nan")
    assert stacked.finite().tolist() == [True, False, True]
    stacked.gradient(x, y)
    clean.gradient(x, y)
    for name, block in stacked.spread_blocks(stacked.grads).items():
        assert torch.equal(block[0], clean.spread_blocks(clean.grads)[name][0])
        assert torch.equal(block[2], clean.spread_blocks(clean.grads)[name][2])


@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize("hidden", [(8,), (200, 160)])
def test_large_layers_give_the_gradient_too_and_keep_adds_to_what_is_there(hidden, runs):
    rng = np.random.default_rng(1)
    weights = [first_weights(mlp(150, hidden, CLASSES), rng) for _ in range(runs)]
    stacked = StackedMLP(weights, "cross_entropy", torch.float32)
    x = torch.tensor(rng.normal(size=(runs, 100, 150)), dtype=torch.float32)
    y = torch.tensor(rng.dirichlet(np.ones(CLASSES), (runs, 100)), dtype=torch.float32)
    if torch.backends.mkldnn.is_available():
        assert is_large(x, torch.empty(runs, hidden[0], 150)) == (hidden[0] == 200)
    stacked.gradient(x, y)
    stacked.gradient(x, y, keep=0.5)
    blocks = stacked.spread_blocks(stacked.grads)
    for r in range(runs):
        net = with_weights(mlp(150, hidden, CLASSES), weights[r])
        functional.cross_entropy(net(x[r]), y[r]).backward()
        for name, parameter in net.named_parameters():
            torch.testing.assert_close(blocks[name][r], 1.5 * parameter.grad, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(stacked.logits(x)[r], net(x[r]).detach(), rtol=1e-4, atol=1e-5)
