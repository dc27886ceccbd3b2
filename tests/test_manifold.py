"""The hand-written gradient through a mixed hidden state is the automatic one, for every partner law and run."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from mixup_theory.experiments.batches import Batches
from mixup_theory.experiments.config import RunConfig
from mixup_theory.experiments.datasets import Streams
from mixup_theory.experiments.draws import draw_epoch, stack_draws
from mixup_theory.experiments.manifold import StateMix, StateMixes
from mixup_theory.experiments.networks import first_weights, mlp, stages, with_weights
from mixup_theory.experiments.stacked import StackedMLP
from mixup_theory.mixing import PARTNERS, blend

SIZE, WIDTH, CLASSES, HIDDEN = 8, 6, 4, (5, 7, 3)
MANIFOLD = RunConfig(method="manifold", alpha=1.0, mix_layers=(0, 1, 2, 3), hidden=HIDDEN, lam_per="sample")


@pytest.mark.parametrize("partner", PARTNERS)
@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_gradient_is_the_automatic_one(partner, loss):
    configs = [
        MANIFOLD.replace(partner=partner),
        MANIFOLD.replace(partner=partner, lam_per="batch", mix_layers=(1, 3)),
        MANIFOLD.replace(method="mixup", mix_layers=()),
        MANIFOLD.replace(method="erm", mix_layers=(), alpha=0.0),
    ]
    rng = np.random.default_rng(0)
    weights = [first_weights(mlp(WIDTH, HIDDEN, CLASSES), rng) for _ in configs]
    stacked = StackedMLP(weights, loss, torch.float64)
    x = torch.tensor(rng.normal(size=(4, SIZE, WIDTH)))
    y = torch.tensor(rng.dirichlet(np.ones(CLASSES), (4, SIZE)))
    draws = [draw_epoch(c, Streams(s), 10 * SIZE, SIZE, 0) for s, c in enumerate(configs)]
    drawn = stack_draws(draws, 10 * SIZE)
    mixes = StateMixes(drawn, torch.float64)
    met = set()
    for step in range(10):
        losses = stacked.gradient(x, y, mixes=mixes.at(step), with_loss=True)
        blocks = stacked.spread_blocks(stacked.grads)
        for r, own in enumerate(draws):
            net, state, layer = with_weights(mlp(WIDTH, HIDDEN, CLASSES).double(), weights[r]), x[r], own.layer[step, 0]
            for k, part in enumerate(stages(net), 1):
                state = part(state)
                if k == layer:
                    state = blend(state, torch.tensor(own.lam[step]), torch.tensor(own.partner[step]))
            value = functional.cross_entropy(state, y[r])
            if loss == "squared_error":
                value = 0.5 * ((state - y[r]) ** 2).sum(dim=1).mean()
            value.backward()
            met.add((r, int(layer)))
            assert losses[r].item() == pytest.approx(value.item(), rel=1e-12)
            for name, parameter in net.named_parameters():
                torch.testing.assert_close(blocks[name][r], parameter.grad, rtol=1e-11, atol=1e-15)
    assert {(0, k) for k in range(4)} <= met
    assert {(1, 1), (1, 3), (2, 0), (3, 0)} <= met


def test_backward_is_the_transpose_of_forward():
    rng = np.random.default_rng(1)
    mix = StateMix(torch.tensor(rng.uniform(size=6)), torch.tensor([0, 0, 1, 5, 5, 5]))
    state = torch.tensor(rng.normal(size=(2, 3, 4)), requires_grad=True)
    delta = torch.tensor(rng.normal(size=(2, 3, 4)))
    mix.forward(state).backward(delta)
    torch.testing.assert_close(mix.backward(delta), state.grad, rtol=1e-13, atol=1e-15)


def test_on_a_gpu_repeated_partners_are_summed_in_a_fixed_order():
    class Called(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            names.append(func.__name__)
            return func(*args, **(kwargs or {}))

    names = []
    with FakeTensorMode(allow_non_fake_inputs=True), Called():
        delta = torch.empty(2, 3, 4, device="cuda")
        mixed = StateMix(torch.empty(6, device="cuda"), torch.empty(6, dtype=torch.int64, device="cuda")).backward(
            delta
        )
    assert mixed.shape == delta.shape
    assert not any(name.startswith("index_add") for name in names)
    assert any(name.startswith("index_put") for name in names)


def test_weight_one_leaves_a_state_as_it_is():
    state = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    mix = StateMix(torch.ones(6), torch.tensor([5, 4, 3, 2, 1, 0]))
    assert torch.equal(mix.forward(state), state)
    assert torch.equal(mix.backward(state), state)


def test_without_manifold_runs_nothing_is_mixed_inside():
    drawn = draw_epoch(MANIFOLD.replace(method="mixup", mix_layers=()), Streams(0), 40, 8, 0)
    assert StateMixes(drawn, torch.float32).at(0) == {}


@pytest.mark.parametrize("partner", PARTNERS)
@pytest.mark.parametrize("lam_per", ["batch", "sample"])
def test_labels_fed_in_as_a_hidden_state_come_out_as_the_mixed_labels(partner, lam_per):
    config = MANIFOLD.replace(partner=partner, lam_per=lam_per, mix_layers=(1, 2))
    labels = np.random.default_rng(2).integers(0, CLASSES, (1, 10 * SIZE))
    rows = torch.eye(CLASSES, dtype=torch.float64)
    batches = Batches(torch.zeros(10 * SIZE, 1, dtype=torch.float64), rows, np.arange(10 * SIZE)[None], labels, SIZE)
    drawn = stack_draws([draw_epoch(config, Streams(0), 10 * SIZE, SIZE, 0)], 10 * SIZE)
    batches.start_epoch(drawn)
    mixes = StateMixes(drawn, torch.float64)
    for step in range(10):
        _, mixed = batches.mixed(step)
        [mix] = mixes.at(step).values()
        own = rows[torch.tensor(labels[0][drawn.position[step]])]
        torch.testing.assert_close(mix.forward(own.unsqueeze(0)), mixed, rtol=0, atol=1e-15)
