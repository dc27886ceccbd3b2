"""Tests of DP-SGD through opacus: repeatable, cached, within its budget, paired with the ordinary run of its seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mixup_theory.experiments import RunConfig, load_dataset, sweep
from mixup_theory.experiments.private_training import PrivacyBudget, load_private_network, private_sweep

pytest.importorskip("opacus")

BUDGET = PrivacyBudget(epsilon=8.0)
CONFIG = RunConfig(num_train=200, hidden=(8,), epochs=3, batch_size=50, momentum=0.0, learning_rate=0.5)


def weights_of(network):
    return torch.cat([value.flatten() for value in network.state_dict().values()]).numpy()


def test_row_says_what_was_spent_and_what_came_out(tmp_path):
    row = private_sweep([CONFIG], BUDGET, tmp_path).iloc[0]
    assert 0.95 * BUDGET.epsilon < row["epsilon"] <= BUDGET.epsilon
    assert (row["delta"], row["max_grad_norm"]) == (1e-5, 1.0)
    network, data = load_private_network(CONFIG, BUDGET, tmp_path), load_dataset("digits")
    with torch.no_grad():
        predicted = network(torch.tensor(data.x_test, dtype=torch.float32)).argmax(dim=1).numpy()
    assert row["test_accuracy"] == pytest.approx((predicted == data.y_test).mean())
    ordinary = sweep([CONFIG], tmp_path)
    assert set(ordinary.columns) - {"batch_loss"} <= set(row.index)
    assert ordinary["key"][0] != row["key"]


def test_epsilon_is_that_of_the_noise_by_another_accountant(tmp_path):
    from opacus.accountants import RDPAccountant

    row = private_sweep([CONFIG], BUDGET, tmp_path).iloc[0]
    accountant = RDPAccountant()
    accountant.history = [(row["noise_multiplier"], 50 / 200, 3 * 4)]  # 3 epochs of 4 Poisson batches
    assert accountant.get_epsilon(1e-5) == pytest.approx(row["epsilon"], rel=1e-9)
    # The moments bound of one subsampled Gaussian step, squared out by hand at order 2, is no smaller a budget.
    q, s, steps = 0.25, row["noise_multiplier"], 12
    order_two = steps * np.log(1 + q**2 * (np.exp(1 / s**2) - 1)) + np.log(1e5)
    assert row["epsilon"] < order_two


def test_repeatable_and_read_from_the_cache(tmp_path):
    first = private_sweep([CONFIG], BUDGET, tmp_path / "a")
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*.*")}
    again = private_sweep([CONFIG], BUDGET, tmp_path / "a")
    assert first.equals(again)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*.*")} == files
    private_sweep([CONFIG], BUDGET, tmp_path / "b")
    one, two = (weights_of(load_private_network(CONFIG, BUDGET, tmp_path / name)) for name in "ab")
    assert np.array_equal(one, two)


def test_noise_clipping_and_seed_matter(tmp_path):
    others = [
        (CONFIG, PrivacyBudget(epsilon=1.0)),
        (CONFIG, PrivacyBudget(epsilon=8.0, max_grad_norm=0.1)),
        (CONFIG.replace(seed=1), BUDGET),
    ]
    rows = [private_sweep([config], budget, tmp_path).iloc[0] for config, budget in [(CONFIG, BUDGET), *others]]
    assert len({row["key"] for row in rows}) == 4
    assert rows[1]["noise_multiplier"] > rows[0]["noise_multiplier"]
    networks = [weights_of(load_private_network(c, b, tmp_path)) for c, b in [(CONFIG, BUDGET), *others]]
    assert not any(np.allclose(networks[0], other) for other in networks[1:])


def test_without_noise_to_speak_of_and_without_clipping_it_is_sgd(tmp_path):
    # All points in each batch (sample rate 1), so that the only draws left are the first weights and the noise.
    config = CONFIG.replace(batch_size=200, epochs=5)
    budget = PrivacyBudget(epsilon=1e9, max_grad_norm=1e3)
    row = private_sweep([config], budget, tmp_path).iloc[0]
    assert row["noise_multiplier"] < 1e-3
    plain = sweep([config], tmp_path)
    assert row["train_loss"] == pytest.approx(plain["train_loss"][0], abs=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "mixup", "alpha": 1.0}, "`method` must be 'erm'"),
        ({"optimizer": "adamw"}, "`optimizer` must be 'sgd'"),
        ({"lr_schedule": "cosine"}, "`lr_schedule` must be 'constant'"),
        ({"label_smoothing": 0.1}, "`label_smoothing` must be 0.0"),
    ],
)
def test_refuses_what_it_would_ignore(change, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        private_sweep([CONFIG.replace(**change)], BUDGET, tmp_path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epsilon": 0.0}, "`epsilon` must be a finite number > 0"),
        ({"epsilon": 1.0, "delta": 1.0}, "`delta` must be in"),
        ({"epsilon": 1.0, "max_grad_norm": -1.0}, "`max_grad_norm` must be a finite number > 0"),
    ],
)
def test_budget_refuses(fields, message):
    with pytest.raises(ValueError, match=message):
        PrivacyBudget(**fields)


def test_a_run_that_was_not_trained_is_named(tmp_path):
    with pytest.raises(KeyError, match="No such private run"):
        load_private_network(CONFIG, BUDGET, tmp_path)
