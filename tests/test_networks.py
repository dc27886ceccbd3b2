"""Modules have the stated form, and first weights the law PyTorch uses, from the run's generator alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from mixup_theory.experiments.config import RunConfig
from mixup_theory.experiments.networks import build_network, first_weights, hidden_states, mlp, with_weights


def test_mlp_is_linear_layers_with_relu_between():
    net = mlp(5, (4, 3), 2)
    assert [type(layer) for layer in net] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert [tuple(layer.weight.shape) for layer in net[::2]] == [(4, 5), (3, 4), (2, 3)]
    assert [type(layer) for layer in mlp(5, (), 2)] == [nn.Linear]


def test_config_gives_width_and_precision():
    net = build_network(RunConfig(hidden=(7,), dtype="float64"), (8, 8), 10)
    assert net[0].weight.shape == (7, 64)
    assert net[0].weight.dtype == torch.float64


def test_first_weights_have_the_law_of_pytorch():
    net = mlp(64, (3000,), 10)
    weights = first_weights(net, np.random.default_rng(0))
    assert list(weights) == [name for name, _ in net.named_parameters()]
    for layer in (0, 2):
        bound = 1 / math.sqrt(net[layer].in_features)
        torch_bound = net[layer].weight.abs().max().item()
        assert weights[f"{layer}.weight"].shape == tuple(net[layer].weight.shape)
        assert np.abs(weights[f"{layer}.weight"]).max() == pytest.approx(bound, rel=1e-3)
        assert torch_bound == pytest.approx(bound, rel=1e-3)
        assert np.abs(weights[f"{layer}.bias"]).max() <= bound
        var, n = weights[f"{layer}.weight"].var(), weights[f"{layer}.weight"].size
        assert abs(var - bound**2 / 3) < 6 * bound**2 * math.sqrt(4 / 45 / n)


def test_first_weights_depend_on_the_generator_only():
    torch.manual_seed(0)
    one = first_weights(mlp(4, (3,), 2), np.random.default_rng(9))
    torch.manual_seed(1)
    two = first_weights(mlp(4, (3,), 2), np.random.default_rng(9))
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_weights_go_back_into_a_network():
    weights = first_weights(mlp(4, (3,), 2), np.random.default_rng(0))
    net = with_weights(mlp(4, (3,), 2).double(), weights)
    hidden = np.maximum(np.ones((1, 4)) @ weights["0.weight"].T + weights["0.bias"], 0)
    expected = hidden @ weights["2.weight"].T + weights["2.bias"]
    np.testing.assert_allclose(net(torch.ones(1, 4, dtype=torch.float64)).detach().numpy(), expected, rtol=1e-12)
    with pytest.raises(RuntimeError, match="size mismatch"):
        with_weights(mlp(5, (3,), 2), weights)


def test_hidden_states_of_an_mlp_are_those_after_each_relu():
    net = with_weights(mlp(4, (3, 2), 2), first_weights(mlp(4, (3, 2), 2), np.random.default_rng(0)))
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    states = hidden_states(net, x)
    assert list(states) == ["input", "hidden1", "hidden2", "logits"]
    assert torch.equal(states["input"], x)
    assert torch.equal(states["hidden1"], net[0](x).relu())
    assert torch.equal(states["hidden2"], net[2](states["hidden1"]).relu())
    assert torch.equal(states["logits"], net(x))
    assert list(hidden_states(mlp(4, (), 2), x)) == ["input", "logits"]
