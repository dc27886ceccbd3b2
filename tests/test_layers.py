"""Reading networks as affine layers: the layers must compute what torch computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mixup_theory.layers import network_layers


def forward(layers: list, x: np.ndarray) -> np.ndarray:
    for layer in layers:
        z = x @ layer.weight.T + layer.bias
        x = np.where(z > 0, z, layer.slope * z)
    return x


def normed() -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(3, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 2, bias=False)
    ).double()
    network(torch.randn(50, 3, dtype=torch.float64))  # moves the running statistics
    return network.eval()


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)),
        nn.Sequential(nn.Linear(3, 5), nn.LeakyReLU(0.3), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2)),
        nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(3, 5), nn.Identity(), nn.ReLU()), nn.Linear(5, 2)),
        nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2), nn.ReLU()),
        nn.Sequential(nn.Linear(3, 4), nn.LeakyReLU(0.1), nn.LeakyReLU(-0.5)),
        nn.Linear(3, 2),
        normed(),
    ],
    ids=["relu", "leaky", "nested", "ends in relu", "two activations", "linear", "batch norm and dropout"],
)
def test_the_layers_compute_what_torch_computes(network: nn.Module) -> None:
    network = network.double()
    x = np.random.default_rng(0).normal(size=(20, 3))
    expected = network(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(forward(network_layers(network), x), expected, rtol=1e-12, atol=1e-14)


def test_a_list_of_weights_has_the_given_slope_between_layers() -> None:
    layers = network_layers([(np.eye(2), [0, 1]), (np.eye(2), None)], slope=0.25)
    assert [layer.slope for layer in layers] == [0.25, 1.0]
    np.testing.assert_array_equal(layers[1].bias, [0, 0])
    assert network_layers(layers) == layers


@pytest.mark.parametrize(
    ("network", "found"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.Tanh()), "got Tanh"),
        (nn.Sequential(nn.Linear(2, 2), nn.GELU()), "got GELU"),
        (nn.Sequential(nn.Linear(2, 2), nn.Softmax(dim=1)), "got Softmax"),
        (nn.Sequential(nn.Conv2d(1, 1, 1)), "got Conv2d"),
        (nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), r"got BatchNorm1d in train mode \(call network.eval"),
        (nn.Sequential(nn.Linear(2, 2), nn.Dropout()), "got Dropout in train mode"),
        (nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, track_running_stats=False)).eval(), "got BatchNorm1d"),
        (nn.Sequential(nn.ReLU(), nn.Linear(2, 2)), "got ReLU before any Linear"),
        (nn.Sequential(nn.Identity()), "got no Linear layer"),
        (nn.LSTM(2, 2), "got LSTM"),
        (lambda x: x, "got function"),
    ],
)
def test_what_is_not_piecewise_linear_is_named_with_the_quadrature(network: nn.Module, found: str) -> None:
    with pytest.raises(ValueError, match=found + ".*use smooth_penalty"):
        network_layers(network)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ([], "at least one layer"),
        ([np.eye(2)], "pairs"),
        ([(np.eye(2), [0.0])], "`b` must have shape"),
        ([(np.eye(2), None), (np.eye(3), None)], "layers that fit, got 2 outputs before 3 inputs"),
        ([([[np.nan]], None)], "`W` must be"),
    ],
)
def test_bad_weights_are_refused(network: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network_layers(network)
