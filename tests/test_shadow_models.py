"""Tests of who was trained on what and of the queries: against the runs themselves and against the networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mixup_theory.experiments import RunConfig, grid, load_arrays, load_dataset, load_network, sweep
from mixup_theory.experiments.membership import logit_confidence
from mixup_theory.experiments.shadow_models import memberships, query_confidences

BASE = RunConfig(num_train=60, hidden=(6,), epochs=2, batch_size=30, outputs=("weights", "train_index", "train_logits"))


def test_memberships_are_those_of_the_runs_and_the_same_for_every_method(tmp_path):
    configs = grid(BASE, seed=[4, 9])
    sweep(configs, tmp_path)
    inside = memberships(configs)
    for config, row in zip(configs, inside, strict=True):
        assert np.array_equal(np.flatnonzero(row), np.sort(load_arrays(config, tmp_path)["train_index"]))
    mixed = [config.replace(method="mixup", alpha=1.0, epochs=1) for config in configs]
    assert np.array_equal(memberships(mixed), inside)


def test_confidences_are_those_of_the_runs(tmp_path):
    configs = grid(BASE, seed=[4, 9])
    sweep(configs, tmp_path)
    data = load_dataset("digits")
    networks = (load_network(config, tmp_path) for config in configs)
    phi = query_confidences(networks, [(data.x_train, data.y_train)], num_models=2)
    assert phi.shape == (2, len(data.x_train), 1)
    for config, answered in zip(configs, phi[..., 0], strict=True):
        arrays = load_arrays(config, tmp_path)
        index = arrays["train_index"]
        assert np.allclose(answered[index], logit_confidence(arrays["train_logits"], data.y_train[index]), atol=1e-4)


def test_queries_keep_their_order_and_their_labels():
    network = nn.Linear(2, 2, dtype=torch.float64)
    with torch.no_grad():
        network.weight.copy_(torch.eye(2))
        network.bias.zero_()
    plain = (np.array([[3.0, 0.0], [0.0, 1.0]]), np.array([0, 0]))
    soft = (np.array([[3.0, 0.0], [0.0, 1.0]]), np.eye(2)[[1, 0]])
    phi = query_confidences([network], [plain, soft], num_models=1)
    assert phi.tolist() == [[[3.0, -3.0], [-1.0, -1.0]]]


@pytest.mark.parametrize(
    ("configs", "message"),
    [
        ([], "`configs` must be at least one run"),
        ([BASE, BASE.replace(seed=1, num_train=50)], "`configs` must be at least one run, all of one data set"),
        ([BASE, BASE.replace(epochs=3)], "`configs` must have different seeds"),
    ],
)
def test_memberships_refuse(configs, message):
    with pytest.raises(ValueError, match=message):
        memberships(configs)


def test_queries_refuse():
    one = (np.ones((1, 2)), np.array([0]))
    with pytest.raises(ValueError, match="`networks` must be as many as `num_models` = 3, got 1"):
        query_confidences([nn.Identity()], [one], num_models=3)
    with pytest.raises(ValueError, match="`queries` must hold at least one"):
        query_confidences([nn.Identity()], [], num_models=1)
    with pytest.raises(ValueError, match="`logits` must be a finite array"):
        query_confidences([nn.Identity()], [(np.array([[np.nan, 1.0]]), np.array([0]))], num_models=1)
