"""A run stopped early is the beginning of the long one, bit for bit; its noise against autograd and brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mixup_theory.annealing import SCHEDULES, Schedule
from mixup_theory.experiments import RunConfig, checkpoints, load_arrays, load_network, run_dataset, sweep
from mixup_theory.experiments.checkpoints import gradient_noise_at_end, initial_weights, last_alpha, stopped_at

SMALL = RunConfig(num_train=60, batch_size=16, hidden=(5,), epochs=6, method="mixup", seed=3)


def schedule_of(kind, alpha0=1.0, total=6):
    return Schedule(
        kind,
        alpha0,
        total,
        step=4.0 if kind in ("step", "off-at-epoch") else None,
        rate=0.5 if kind == "exponential" else None,
    )


@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_stopped_run_is_the_beginning_of_the_long_one(kind, tmp_path):
    long = SMALL.replace(alpha=schedule_of(kind), history_every=2)
    short = stopped_at(long, 4)
    sweep([long, short], tmp_path)
    whole, part = load_arrays(long, tmp_path), load_arrays(short, tmp_path)
    assert part["history_epoch"].tolist() == [2, 4]
    for name, values in part.items():
        np.testing.assert_array_equal(values, whole[name][:2], err_msg=name)
    assert whole["history_train_loss"][2] != whole["history_train_loss"][1]


def test_weights_of_a_stopped_run_lead_to_the_end_of_the_long_one(tmp_path):
    # One epoch by hand from the stopped weights: full batch, plain gradient, no mixing any more at that epoch.
    long = SMALL.replace(alpha=schedule_of("off-at-epoch"), epochs=5, batch_size=60, momentum=0.0, outputs=("weights",))
    sweep([long, stopped_at(long, 4)], tmp_path)
    network, data = load_network(stopped_at(long, 4), tmp_path), run_dataset(long)
    x = torch.as_tensor(data.x_train, dtype=torch.float32)
    loss = F.cross_entropy(network(x), torch.as_tensor(data.y_train))
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    after = [p - 0.1 * g for p, g in zip(network.parameters(), gradients, strict=True)]
    for mine, theirs in zip(after, load_network(long, tmp_path).parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_a_run_of_one_step_starts_at_the_initial_weights(tmp_path):
    run = RunConfig(num_train=60, batch_size=60, hidden=(5,), epochs=1, momentum=0.0, outputs=("weights",))
    sweep([run], tmp_path)
    network, data = load_network(run, tmp_path), run_dataset(run)
    ends = {name: value.clone() for name, value in network.state_dict().items()}
    starts = {name: torch.as_tensor(value, dtype=torch.float32) for name, value in initial_weights(run).items()}
    network.load_state_dict(starts)
    x = torch.as_tensor(data.x_train, dtype=torch.float32)
    loss = F.cross_entropy(network(x), torch.as_tensor(data.y_train))
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    for (name, start), gradient in zip(starts.items(), gradients, strict=True):
        torch.testing.assert_close(start - 0.1 * gradient, ends[name], rtol=1e-4, atol=1e-6)


def test_what_cannot_be_stopped_is_refused():
    with pytest.raises(ValueError, match="`lr_schedule` must be one of constant"):
        stopped_at(SMALL.replace(lr_schedule="cosine"), 3)
    with pytest.raises(ValueError, match="`epochs` must be at most the 6 of the run, got 7"):
        stopped_at(SMALL, 7)


def test_last_alpha_is_that_of_the_next_batch():
    assert last_alpha(SMALL.replace(alpha=0.4)) == 0.4
    assert last_alpha(RunConfig(epochs=3)) == 0.0
    assert last_alpha(SMALL.replace(alpha=schedule_of("off-at-epoch"), epochs=4)) == 0.0
    assert last_alpha(SMALL.replace(alpha=schedule_of("off-at-epoch"), epochs=3)) == 1.0
    assert last_alpha(SMALL.replace(alpha=schedule_of("rising"), epochs=3)) == 0.5
    hesitating = SMALL.replace(alpha=schedule_of("hesitation", total=20), epochs=19)
    with pytest.raises(ValueError, match="must mix all batches or none"):
        last_alpha(hesitating)


def test_noise_without_mixing_is_exact(tmp_path):
    run = SMALL.replace(method="erm", alpha=0.0, outputs=("weights",))
    annealed = SMALL.replace(alpha=schedule_of("linear"), outputs=("weights",))
    sweep([run, annealed], tmp_path)
    for config in (run, annealed):
        network, data = load_network(config, tmp_path), run_dataset(config)
        rows = []
        for x, y in zip(torch.as_tensor(data.x_train).float(), torch.as_tensor(data.y_train), strict=True):
            parts = torch.autograd.grad(F.cross_entropy(network(x[None]), y[None]), list(network.parameters()))
            rows.append(torch.cat([part.ravel() for part in parts]).double().numpy())
        noise = gradient_noise_at_end(config, tmp_path, np.random.default_rng(0))
        assert noise.trace.value == pytest.approx(np.var(rows, axis=0).sum() / 16, rel=1e-5)
        assert noise.mean_squared.value == pytest.approx(np.sum(np.mean(rows, axis=0) ** 2), rel=1e-4)
        assert noise.trace.standard_error == 0


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_noise_with_mixing_against_batches_drawn_by_hand(loss, tmp_path):
    run = SMALL.replace(alpha=schedule_of("linear"), epochs=3, loss=loss, outputs=("weights",))
    sweep([run], tmp_path)
    noise = gradient_noise_at_end(run, tmp_path, np.random.default_rng(0), num_batches=1500)
    network, data, rng = load_network(run, tmp_path), run_dataset(run), np.random.default_rng(1)
    x, y = torch.as_tensor(data.x_train).float(), torch.eye(10)[data.y_train]
    rows = []
    for _ in range(1500):
        mine, partner, lam = rng.integers(0, 60, 16), rng.permutation(16), float(rng.beta(0.5, 0.5))
        theirs = mine[partner]
        out = network(lam * x[mine] + (1 - lam) * x[theirs])
        target = lam * y[mine] + (1 - lam) * y[theirs]
        value = F.cross_entropy(out, target) if loss == "cross_entropy" else ((out - target) ** 2).sum() / 32
        parts = torch.autograd.grad(value, list(network.parameters()))
        rows.append(torch.cat([part.ravel() for part in parts]).double().numpy())
    squares = ((np.array(rows) - np.mean(rows, axis=0)) ** 2).sum(axis=1) * 1500 / 1499
    error = np.hypot(squares.std() / np.sqrt(1500), noise.trace.standard_error)
    assert abs(noise.trace.value - squares.mean()) < 6 * error
    assert error < 0.1 * noise.trace.value


IMAGES = SMALL.replace(num_train=24, batch_size=8, epochs=3, outputs=("weights",), alpha=schedule_of("linear", total=3))


def test_a_stopped_run_of_a_cnn_with_augmentation_is_the_beginning(tmp_path):
    long = IMAGES.replace(network="cnn", hidden=(3,), augment="flip-crop", history_every=1)
    short = stopped_at(long, 2)
    sweep([long, short], tmp_path)
    whole, part = load_arrays(long, tmp_path), load_arrays(short, tmp_path)
    np.testing.assert_array_equal(part["history_test_loss"], whole["history_test_loss"][:2])


@pytest.mark.parametrize(("network", "hidden"), [("cnn", (3,)), ("resnet18", (2,))])
def test_noise_of_an_image_network_is_that_of_its_batches(network, hidden, tmp_path):
    run = IMAGES.replace(network=network, hidden=hidden, method="erm", alpha=0.0, epochs=1)
    sweep([run], tmp_path)
    noise = gradient_noise_at_end(run, tmp_path, np.random.default_rng(0), chunk_size=8)
    net, data = load_network(run, tmp_path).eval(), run_dataset(run)
    rows = []
    for x, y in zip(torch.as_tensor(data.x_train).float(), torch.as_tensor(data.y_train), strict=True):
        parts = torch.autograd.grad(F.cross_entropy(net(x[None]), y[None]), list(net.parameters()))
        rows.append(torch.cat([part.ravel() for part in parts]).double().numpy())
    assert noise.trace.value == pytest.approx(np.var(rows, axis=0).sum() / 8, rel=1e-4)
    mixed = run.replace(method="mixup", alpha=1.0)
    sweep([mixed], tmp_path)
    assert gradient_noise_at_end(mixed, tmp_path, np.random.default_rng(0), num_batches=4, chunk_size=2).trace.value > 0


def test_noise_that_is_not_the_runs_is_refused(tmp_path):
    changes = {"label_mixing": "hard", "label_smoothing": 0.1, "method": "cutmix"}
    for change, name in (({name: value}, name) for name, value in changes.items()):
        run = SMALL.replace(alpha=1.0, epochs=1, outputs=("weights",), **change)
        sweep([run], tmp_path)
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            gradient_noise_at_end(run, tmp_path, np.random.default_rng(0))


def test_noise_without_mixing_of_a_large_network_is_estimated(tmp_path, monkeypatch):
    run = SMALL.replace(method="erm", alpha=0.0, outputs=("weights",))
    sweep([run], tmp_path)
    exact = gradient_noise_at_end(run, tmp_path, np.random.default_rng(0)).trace.value
    monkeypatch.setattr(checkpoints, "EXACT_NUMBERS", 0)
    found = gradient_noise_at_end(run, tmp_path, np.random.default_rng(0), num_batches=400).trace
    assert 0 < found.standard_error < 0.1 * exact
    assert abs(found.value - exact) < 6 * found.standard_error
