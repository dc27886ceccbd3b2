"""Training against a plain loop; a run is the same alone or in a group, twice, and beside a diverging one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mixup_theory.annealing import Schedule
from mixup_theory.experiments import datasets, training
from mixup_theory.experiments.config import RunConfig, grid
from mixup_theory.experiments.datasets import Streams, load_dataset, run_dataset, validation_labels
from mixup_theory.experiments.draws import draw_epoch
from mixup_theory.experiments.in_process import train
from mixup_theory.experiments.metrics import METRICS, example_losses
from mixup_theory.experiments.networks import build_network, first_weights, stages, with_weights
from mixup_theory.experiments.training import check_runs, form_groups, group_size, train_group

# 50 steps: 5 epochs of 10 batches.
BASE = RunConfig(epochs=5, hidden=(16, 16), num_train=320, batch_size=32, outputs=("test_logits",))
EXACT = BASE.replace(dtype="float64")
MIXUP = EXACT.replace(method="mixup", alpha=1.0)
MANIFOLD = EXACT.replace(method="manifold", alpha=1.0, mix_layers=(0, 1, 2))


@pytest.fixture(autouse=True)
def _one_thread():
    """As `train` and `sweep` have it: a product on several threads is summed in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def plain_loop(config):
    """Train one run with torch's own modules, loss and optimiser; the mix is written out again."""
    data, streams = run_dataset(config), Streams(config.seed)
    dtype = getattr(torch, config.dtype)
    net = build_network(config, data.x_train.shape[1:], data.num_classes)
    with_weights(net, first_weights(net, streams.init))
    if config.optimizer == "adamw":
        optimizer = torch.optim.AdamW(net.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    else:
        optimizer = torch.optim.SGD(
            net.parameters(), lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
        )
    smoothing = config.label_smoothing
    rows = ((1 - smoothing) * np.eye(data.num_classes) + smoothing / data.num_classes)[data.y_train]
    for epoch in range(config.epochs):
        drawn = draw_epoch(config, streams, len(rows), config.batch_size, epoch)
        for step, (position, partner) in enumerate(zip(drawn.position, drawn.partner.copy(), strict=True)):
            lam, label_lam = (torch.tensor(w[step, :, None], dtype=dtype) for w in (drawn.lam, drawn.label_lam))
            state, y = (torch.tensor(z[position], dtype=dtype) for z in (data.x_train, rows))
            y = label_lam * y + (1 - label_lam) * y[partner]
            for k, part in enumerate(stages(net)):
                if k == drawn.layer[step, 0]:
                    state = lam * state + (1 - lam) * state[partner]
                state = part(state)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(state, y).backward()
            optimizer.step()
    return net(torch.tensor(data.x_test, dtype=dtype)).detach().numpy()


@pytest.mark.parametrize(
    "config",
    [
        EXACT,
        MIXUP,
        MIXUP.replace(lam_per="sample", partner="derangement", label_noise=0.3, weight_decay=1e-3),
        MIXUP.replace(optimizer="adamw", learning_rate=0.003, alpha=Schedule("linear", 2.0, total=5), lam_max=True),
        EXACT.replace(label_smoothing=0.1),
        MIXUP.replace(label_mixing="hard", lam_per="sample"),
        MIXUP.replace(label_mixing="first", label_smoothing=0.2),
        MANIFOLD,
        MANIFOLD.replace(lam_per="sample", partner="independent", mix_layers=(1,), num_validation=300),
    ],
    ids=[
        "erm",
        "mixup",
        "mixup-sample",
        "mixup-adamw",
        "smoothing",
        "hard-labels",
        "inputs-only",
        "manifold",
        "manifold-sample",
    ],
)
def test_a_run_is_what_a_plain_loop_gives(config):
    [result] = train([config])
    np.testing.assert_allclose(result.arrays["test_logits"], plain_loop(config), rtol=1e-9, atol=1e-10)


def mixed_group(base):
    mixup = base.replace(method="mixup", alpha=1.0)
    manifold = base.replace(method="manifold", alpha=1.0, mix_layers=(0, 1, 2))
    return [
        *grid(mixup, seed=range(4), alpha=[0.0, 0.2, 4.0]),
        *grid(mixup, seed=[0, 1], lam_per=["sample"], partner=["derangement", "roll", "independent"]),
        *grid(base, seed=range(2)),
        base.replace(label_noise=0.4, seed=5),
        mixup.replace(learning_rate=0.02, weight_decay=1e-3, label_mixing="hard"),
        mixup.replace(lam_max=True, alpha=Schedule("cosine", 2.0, total=5)),
        *grid(manifold, seed=range(3), lam_per=["batch", "sample"]),
        *grid(manifold, seed=[4], mix_layers=[(0, 1), (1,), (2,)]),
    ]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-10)])
def test_alone_among_seven_or_among_all_a_run_is_the_same(dtype, tolerance):
    configs = mixed_group(BASE.replace(dtype=dtype))
    assert len(configs) == 32

    def logits(group):
        return {result.config: result.arrays["test_logits"] for result in train_group(group)}

    together = logits(configs)
    others = [logits(configs[::-1])]
    others += [logits(configs[k : k + 7]) for k in range(0, 32, 7)] + [logits([c]) for c in configs[::4]]
    for group in others:
        for config, values in group.items():
            assert np.abs(values - together[config]).max() <= tolerance


def test_twice_the_same():
    configs = mixed_group(BASE)[::4]
    for one, two in zip(train(configs), train(configs), strict=True):
        assert repr(one.row) == repr(two.row)  # NaN included
        assert np.array_equal(one.arrays["test_logits"], two.arrays["test_logits"])


def test_seeds_differ():
    zero, one = train([BASE.replace(seed=0), BASE.replace(seed=1)])
    assert not np.allclose(zero.arrays["test_logits"], one.arrays["test_logits"], atol=0.1)


@pytest.mark.parametrize("partner", ["permutation", "independent", "derangement", "roll", "flip"])
@pytest.mark.parametrize("lam_per", ["batch", "sample"])
def test_labels_fed_in_as_inputs_come_out_as_the_mixed_labels(monkeypatch, partner, lam_per):
    def one_hot_digits():
        data = load_dataset("digits")
        rows = np.eye(10)
        return replace(data, x_train=rows[data.y_train], x_test=rows[data.y_test])

    seen = []

    class Spy(training.StackedMLP):
        def gradient(self, x, y, **options):
            seen.append((x.clone(), y.clone()))
            return super().gradient(x, y, **options)

    monkeypatch.setattr(training, "load_dataset", lambda name: one_hot_digits())
    monkeypatch.setattr(training, "StackedMLP", Spy)
    train(grid(MIXUP.replace(epochs=1, partner=partner, lam_per=lam_per), seed=range(2), alpha=[0.3, 2.0]))
    assert len(seen) == 10
    for x, y in seen:
        assert torch.equal(x, y)
        assert torch.allclose(y.sum(dim=2), torch.ones((), dtype=y.dtype), atol=1e-12)
    mixed = torch.cat([((y > 0) & (y < 1)).any(dim=2).float().mean(dim=1, keepdim=True) for _, y in seen], dim=1)
    assert (mixed.mean(dim=1) > 0.5).all()


def test_alpha_zero_is_erm_when_one_lam_permutes_the_whole_batch():
    erm, limit = train([EXACT.replace(seed=2), MIXUP.replace(seed=2, alpha=0.0)])
    np.testing.assert_allclose(limit.arrays["test_logits"], erm.arrays["test_logits"], rtol=0, atol=1e-10)
    assert limit.row["batch_loss"] == pytest.approx(erm.row["batch_loss"], rel=1e-9)
    # With a lam for each sample the batch has repeats: the same law for one example, another batch (theory A.3, C.6).
    [other] = train([MIXUP.replace(seed=2, alpha=0.0, lam_per="sample")])
    assert not np.allclose(other.arrays["test_logits"], erm.arrays["test_logits"], atol=1e-3)


def test_mixup_switched_off_before_it_starts_is_erm_exactly():
    erm, off = train([EXACT, MIXUP.replace(alpha=Schedule("off-at-epoch", 1.0, total=5, step=0))])
    assert np.array_equal(erm.arrays["test_logits"], off.arrays["test_logits"])


def test_a_diverged_run_is_marked_and_its_neighbours_untouched():
    good = [BASE, BASE.replace(method="mixup", alpha=1.0, seed=1)]
    wild = BASE.replace(loss="squared_error", learning_rate=1e6)
    good = [config.replace(loss="squared_error", learning_rate=0.01) for config in good]
    first, bad, second = train([good[0], wild, good[1]])
    assert bad.row["status"] == "diverged"
    assert np.isnan(bad.row["test_accuracy"])
    assert np.isnan(bad.row["batch_loss"])
    for config, result in zip(good, (first, second), strict=True):
        [alone] = train([config])
        assert result.row["status"] == "ok"
        np.testing.assert_allclose(result.arrays["test_logits"], alone.arrays["test_logits"], atol=1e-5)


def test_training_stops_when_every_run_has_diverged():
    epochs = []
    wild = BASE.replace(loss="squared_error", learning_rate=1e6, epochs=50)
    [result] = train_group([wild], on_epoch=lambda done, total: epochs.append(done))
    assert result.row["status"] == "diverged"
    assert len(epochs) < 50


def test_the_last_epoch_is_reported_and_history_shows_the_way_there():
    config = BASE.replace(history_every=2, epochs=6, label_noise=0.2)
    [result] = train([config])
    assert result.arrays["history_epoch"].tolist() == [2, 4, 6]
    for name in ("test_accuracy", "train_loss", "wrong_fit", "batch_loss"):
        assert result.arrays[f"history_{name}"][-1] == result.row[name]
    [short] = train([config.replace(epochs=4, history_every=0)])
    assert result.arrays["history_test_nll"][1] == pytest.approx(short.row["test_nll"], rel=1e-6)


def test_further_metrics_are_columns_and_history():
    config = MIXUP.replace(metrics=("brier", "entropy"), history_every=5)
    result, other = train([config, config.replace(metrics=())])
    assert 0 < result.row["test_brier"] < 2
    assert result.arrays["history_test_entropy"][-1] == result.row["test_entropy"]
    assert "test_brier" not in other.row
    assert "history_test_brier" not in other.arrays


def test_outputs_are_what_was_asked_for():
    names = ("test_logits", "train_logits", "weights", "train_index", "train_labels")
    config = MIXUP.replace(outputs=names, label_noise=0.1)
    result, neighbour = train([config, MIXUP.replace(seed=1, outputs=())])
    assert neighbour.arrays == {}
    data = run_dataset(config)
    index = result.arrays["train_index"]
    assert np.array_equal(load_dataset("digits").x_train[index], data.x_train)
    assert np.array_equal(result.arrays["train_labels"], data.y_train)
    net = build_network(config, (64,), 10)
    weights = {k.removeprefix("weights."): v for k, v in result.arrays.items() if k.startswith("weights.")}
    with torch.no_grad():
        logits = with_weights(net, weights)(torch.tensor(data.x_train)).numpy()
    np.testing.assert_allclose(result.arrays["train_logits"], logits, rtol=1e-10)
    assert result.row["train_accuracy"] == (logits.argmax(1) == data.y_train).mean()
    assert result.row["true_accuracy"] == (logits.argmax(1) == data.y_clean).mean()


def test_groups_come_from_the_list_alone():
    configs = [*grid(BASE, seed=range(40)), *grid(BASE.replace(epochs=6), seed=range(3)), BASE.replace(seed=0)]
    groups = form_groups(configs)
    assert group_size(BASE) == 32
    assert [len(group) for group in groups] == [32, 8, 3]
    assert [run.seed for run in groups[0] + groups[1]] == list(range(40))
    assert form_groups(configs) == groups


def test_large_networks_form_small_groups():
    sizes = [group_size(RunConfig(hidden=(width, width))) for width in (8, 64, 256, 4096)]
    assert sizes == [32, 16, 4, 1]
    assert group_size(RunConfig(dtype="float64")) == 8


def test_results_keep_the_order_of_the_list_and_a_small_set_caps_the_batch():
    configs = [BASE.replace(seed=1), BASE.replace(num_train=10), BASE.replace(seed=0)]
    assert [result.config for result in train(configs)] == configs


def test_a_large_network_fits_few_points():
    [result] = train([RunConfig(num_train=100, batch_size=20, epochs=60, label_noise=0.2, learning_rate=0.05)])
    assert result.row["train_accuracy"] == 1
    assert result.row["wrong_fit"] == 1
    assert result.row["true_accuracy"] == pytest.approx(0.8)


def test_datasets_stay_untouched():
    before = load_dataset("digits").x_train.copy()
    train([MIXUP.replace(epochs=1)])
    assert np.array_equal(datasets.load_dataset("digits").x_train, before)


def test_validation_columns_and_logits():
    config = MIXUP.replace(num_validation=100, outputs=("validation_logits",), metrics=("brier",), history_every=5)
    [result] = train([config])
    logits, labels = result.arrays["validation_logits"], validation_labels(config)
    assert logits.shape == (100, 10)
    assert result.row["validation_accuracy"] == (logits.argmax(1) == labels).mean()
    assert result.row["validation_loss"] == pytest.approx(example_losses(logits, labels).mean())
    assert result.arrays["history_validation_brier"][-1] == result.row["validation_brier"]
    [without] = train([MIXUP])
    assert not any(name.startswith("validation") for name in without.row)


def test_a_diverged_run_has_no_numbers_whatever_its_neighbours_do():
    measures = {"metrics": tuple(METRICS), "outputs": ("test_logits", "weights", "train_index"), "history_every": 1}
    good = BASE.replace(loss="squared_error", **measures)
    wild = good.replace(learning_rate=1e12)
    [alone], [beside, kept] = train_group([wild]), train_group([wild, good])
    assert (alone.row["status"], beside.row["status"], kept.row["status"]) == ("diverged", "diverged", "ok")
    assert all(np.isfinite(kept.row[f"test_{name}"]) for name in METRICS)
    assert alone.arrays.keys() == beside.arrays.keys()
    for name, values in alone.arrays.items():
        np.testing.assert_array_equal(values, beside.arrays[name])
    assert np.isnan(alone.arrays["test_logits"]).all()
    assert len(kept.arrays["history_epoch"]) == BASE.epochs > len(alone.arrays["history_epoch"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_train": 2000}, "`num_train` must be at most"),
        ({"num_train": 1000, "num_validation": 1000}, "at most"),
        ({"method": "mixup", "alpha": 1.0, "partner": "flip", "batch_size": 33}, "flip"),
        ({"method": "mixup", "alpha": 1.0, "partner": "derangement", "batch_size": 1}, "derangement"),
        ({"network": "resnet18", "hidden": (2,), "batch_size": 1}, "`batch_size` must be at least 2 for 'resnet18'"),
    ],
)
def test_runs_that_cannot_be_trained_are_refused_before_any_is(changes, message):
    with pytest.raises(ValueError, match=message):
        check_runs([BASE, BASE.replace(**changes)])
    check_runs([BASE])
