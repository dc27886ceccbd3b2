"""Image networks have the stated form, take flat rows and images alike, and show their hidden states."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from mixup_theory.experiments.config import RunConfig
from mixup_theory.experiments.image_networks import cnn, resnet18
from mixup_theory.experiments.networks import build_network, first_weights, hidden_states, with_weights


def images(n, shape):
    return torch.tensor(np.random.default_rng(0).normal(size=(n, *shape)), dtype=torch.float32)


@pytest.mark.parametrize(("shape", "side"), [((1, 8, 8), 2), ((1, 28, 28), 7), ((3, 32, 32), 8)])
def test_cnn_by_its_formula(shape, side):
    net, x = cnn(shape, (4, 6), 10), images(3, shape)
    assert net[-1][1].in_features == 6 * side**2
    state = x
    for block in (net[0][1], net[1][0]):
        state = functional.max_pool2d(functional.conv2d(state, block.weight, block.bias, padding=1).relu(), 2)
    expected = functional.linear(state.flatten(1), net[2][1].weight, net[2][1].bias)
    torch.testing.assert_close(net(x), expected)
    torch.testing.assert_close(net(x.flatten(1)), expected)


def test_resnet_by_its_formula():
    net, x = resnet18((3, 32, 32), 4, 10).eval(), images(2, (3, 32, 32))
    weights = first_weights(net, np.random.default_rng(0))
    rng = np.random.default_rng(1)  # batch normalisation that is not as at the start, and leaves the ReLUs half open
    weights |= {k: rng.uniform(0.1, 0.3, v.shape) for k, v in weights.items() if "running_var" in k}
    weights |= {k: rng.normal(0, 0.2, v.shape) for k, v in weights.items() if "running_mean" in k}
    norms = [name for name in weights if "norm" in name and name.endswith(("weight", "bias"))]
    weights |= {name: rng.normal(size=weights[name].shape) for name in norms}
    w = {k: torch.tensor(v, dtype=torch.float32) for k, v in weights.items()}
    with_weights(net, weights)

    def norm(state, name):
        mean, var = (w[f"{name}.running_{kind}"].view(1, -1, 1, 1) for kind in ("mean", "var"))
        scale, shift = (w[f"{name}.{kind}"].view(1, -1, 1, 1) for kind in ("weight", "bias"))
        return ((state - mean) / (var + 1e-5).sqrt() * scale + shift).relu()

    state = functional.conv2d(x, w["0.1.weight"], padding=1)
    for stage in range(4):
        for block in range(2):
            name, stride = f"{stage}.{block + 2 * (stage == 0)}", 2 if stage and not block else 1
            ready = norm(state, f"{name}.norm1")
            inner = functional.conv2d(ready, w[f"{name}.conv1.weight"], stride=stride, padding=1)
            inner = functional.conv2d(norm(inner, f"{name}.norm2"), w[f"{name}.conv2.weight"], padding=1)
            around = functional.conv2d(ready, w[f"{name}.shortcut.weight"], stride=2) if stride == 2 else state
            state = around + inner
    logits = norm(state, "4.norm").mean(dim=(2, 3)) @ w["4.linear.weight"].T + w["4.linear.bias"]
    torch.testing.assert_close(net(x), logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(net(x.flatten(1)), net(x))


def test_resnet18_has_eighteen_layers_of_the_paper():
    weights = [value for value in resnet18((3, 32, 32), 64, 10).parameters() if value.ndim > 1]
    shortcuts = [value for value in weights if value.ndim == 4 and value.shape[2] == 1]
    assert len(weights) - len(shortcuts) == 18
    assert sorted({len(value) for value in weights}) == [10, 64, 128, 256, 512]


@pytest.mark.parametrize(
    ("fields", "states"),
    [
        ({"network": "cnn", "hidden": (4, 6)}, {"hidden1": (4, 4, 4), "hidden2": (6, 2, 2)}),
        (
            {"network": "resnet18", "hidden": (4,), "dataset": "cifar10"},
            {"hidden1": (4, 32, 32), "hidden2": (8, 16, 16), "hidden3": (16, 8, 8), "hidden4": (32, 4, 4)},
        ),
    ],
)
def test_hidden_states_have_the_numbers_of_mix_layers(fields, states):
    config = RunConfig(**fields)
    shape = (64,) if config.dataset == "digits" else (3, 32, 32)
    net, x = build_network(config, shape, 10).eval(), images(2, shape)
    found = hidden_states(net, x)
    assert list(found) == ["input", *states, "logits"]
    assert {name: tuple(found[name].shape[1:]) for name in states} == states
    assert torch.equal(found["logits"], net(x))


def test_first_weights_have_the_law_of_pytorch():
    net = resnet18((3, 32, 32), 16, 10)
    weights = first_weights(net, np.random.default_rng(0))
    assert weights.keys() == net.state_dict().keys()
    for name, value in net.state_dict().items():
        ours = weights[name]
        if value.ndim > 1:
            bound = 1 / np.sqrt(value[0].numel())
            assert np.abs(ours).max() <= bound
            assert value.abs().max() <= bound * (1 + 1e-6)
            assert abs(ours.var() - bound**2 / 3) < 6 * bound**2 * np.sqrt(4 / 45 / ours.size)
        elif "linear" not in name:
            np.testing.assert_array_equal(ours, value.numpy())
