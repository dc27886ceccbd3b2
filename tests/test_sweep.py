"""A sweep trains what is missing, keeps what is there, and after a kill gives the rows it would have given."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from mixup_theory.experiments.cache import DamagedEntry
from mixup_theory.experiments.config import RunConfig, grid
from mixup_theory.experiments.datasets import load_dataset
from mixup_theory.experiments.in_process import train
from mixup_theory.experiments.sweep import load_arrays, load_network, sweep, train_groups
from mixup_theory.progress import read_progress

# The package exports the function under the name of its module.
sweep_module = importlib.import_module("mixup_theory.experiments.sweep")
BASE = RunConfig(method="mixup", num_train=64, batch_size=32, hidden=(8,), epochs=2)
# Three groups: two by width, one of them split in two by size.
RUNS = [*grid(BASE, seed=range(40)), *grid(BASE.replace(hidden=(4,), outputs=("weights",)), seed=range(3))]


@pytest.fixture
def trained(monkeypatch):
    """The groups handed to training, as lists of seeds."""
    calls = []

    def spy(groups, *args, **kwargs):
        calls.extend([config.seed for config in group] for group in groups)
        return train_groups(groups, *args, **kwargs)

    monkeypatch.setattr(sweep_module, "train_groups", spy)
    return calls


def entry_files(folder, suffix):
    return sorted(folder.rglob(f"*{suffix}"))


def test_rows_are_those_of_training_and_come_in_the_order_asked(tmp_path):
    table = sweep(RUNS[::-1], tmp_path)
    assert table["seed"].tolist() == [config.seed for config in RUNS[::-1]]
    for i in (0, 5, 42):
        [result] = train([RUNS[::-1][i]])
        assert table.loc[i, "test_accuracy"] == pytest.approx(result.row["test_accuracy"], abs=1e-9)
        assert table.loc[i, "train_loss"] == pytest.approx(result.row["train_loss"], rel=1e-4)
    assert table["key"].nunique() == len(RUNS)
    assert set(table["status"]) == {"ok"}


def test_a_second_sweep_reads_and_trains_nothing(tmp_path, trained):
    first = sweep(RUNS, tmp_path)
    assert [len(call) for call in trained] == [32, 8, 3]
    trained.clear()
    second = sweep(RUNS, tmp_path)
    assert trained == []
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_more_seeds_train_only_groups_with_something_missing(tmp_path, trained):
    first = sweep(RUNS[:40], tmp_path)
    trained.clear()
    more = grid(BASE, seed=range(45))
    second = sweep(more, tmp_path)
    assert trained == [list(range(32, 45))]
    pd.testing.assert_frame_equal(first, second[:40], check_exact=True)


def test_duplicates_are_trained_once_and_listed_twice(tmp_path, trained):
    table = sweep([RUNS[0], RUNS[1], RUNS[0]], tmp_path)
    assert trained == [[0, 1]]
    assert table["seed"].tolist() == [0, 1, 0]


@pytest.mark.parametrize("how", ["truncated", "flipped", "emptied", "arrays truncated", "arrays gone"])
def test_a_damaged_entry_is_named_and_computed_again(tmp_path, trained, how):
    whole = sweep(RUNS, tmp_path)
    path = entry_files(tmp_path, ".npz" if "arrays" in how else ".json")[0]
    data = path.read_bytes()
    if how == "arrays gone":
        path.unlink()
    elif how == "flipped":
        path.write_bytes(data.replace(b'"test_accuracy": 0.', b'"test_accuracy": 1.'))
    else:
        path.write_bytes(b"" if how == "emptied" else data[: len(data) // 2])
    trained.clear()
    with pytest.warns(RuntimeWarning, match=rf"{path.name}.*the run is computed again"):
        again = sweep(RUNS, tmp_path)
    assert len(trained) == 1
    pd.testing.assert_frame_equal(whole, again, check_exact=True)
    assert path.read_bytes() == data
    sweep(RUNS, tmp_path)
    assert len(trained) == 1


def test_an_older_version_of_the_training_code_is_absent(tmp_path, trained, monkeypatch):
    sweep(RUNS[:2], tmp_path)
    monkeypatch.setattr("mixup_theory.experiments.config.TRAINING_VERSION", 999)
    sweep(RUNS[:2], tmp_path)
    assert len(trained) == 2


def test_killed_in_the_middle_the_repeat_gives_the_same_bits(tmp_path):
    script = textwrap.dedent(
        """
        import sys
        from mixup_theory.experiments.config import RunConfig, grid
        from mixup_theory.experiments.sweep import sweep
        base = RunConfig(method="mixup", num_train=64, batch_size=32, hidden=(8,), epochs=40)
        runs = [run for width in range(4, 14) for run in grid(base.replace(hidden=(width,)), seed=range(3))]
        table = sweep(runs, sys.argv[1])
        table.to_json(sys.argv[2], double_precision=15)
        """
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def start(name):
        command = [sys.executable, "-c", script, str(tmp_path / name), str(tmp_path / f"{name}.json")]
        return subprocess.Popen(command, env=environment)

    assert start("whole").wait(timeout=120) == 0
    process = start("killed")
    deadline = time.monotonic() + 120
    while len(entry_files(tmp_path / "killed", ".json")) < 7 and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=60) == -signal.SIGKILL
    kept = {path: path.stat().st_mtime_ns for path in entry_files(tmp_path / "killed", ".json")}
    assert 7 <= len(kept) < 30
    assert start("killed").wait(timeout=120) == 0
    whole, repeated = entry_files(tmp_path / "whole", ".json"), entry_files(tmp_path / "killed", ".json")
    assert [path.name for path in whole] == [path.name for path in repeated]
    assert [path.read_bytes() for path in whole] == [path.read_bytes() for path in repeated]
    assert all(path.stat().st_mtime_ns == before for path, before in kept.items())
    assert (tmp_path / "whole.json").read_bytes() == (tmp_path / "killed.json").read_bytes()


def test_progress_counts_up_to_the_total(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXUP_PROGRESS_FILE", str(tmp_path / "progress"))
    reports = []
    sweep(RUNS, tmp_path / "cache", progress=lambda *report: reports.append(report))
    assert reports[0] == (0, 43, None)
    assert reports[-1] == (43, 43, 0.0)
    assert [done for done, _, _ in reports] == sorted(done for done, _, _ in reports)
    final = read_progress(tmp_path / "progress")
    assert (final.done, final.total) == (43, 43)
    reports.clear()
    sweep(RUNS, tmp_path / "cache", progress=lambda *report: reports.append(report))
    assert reports == [(43, 43, 0.0)]


def test_what_finished_before_ctrl_c_is_kept(tmp_path, monkeypatch):
    def interrupted(groups, *args, **kwargs):
        for i, done in enumerate(train_groups(groups, *args, **kwargs)):
            if i == 1:
                raise KeyboardInterrupt
            yield done

    monkeypatch.setattr(sweep_module, "train_groups", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sweep(RUNS, tmp_path)
    assert len(entry_files(tmp_path, ".json")) in (3, 8, 32)  # one group, whichever was first


def test_arrays_and_networks_are_read_back(tmp_path):
    config = BASE.replace(outputs=("weights", "test_logits"), history_every=1)
    sweep([config], tmp_path)
    arrays = load_arrays(config, tmp_path)
    assert arrays["history_epoch"].tolist() == [1, 2]
    import torch

    with torch.no_grad():
        logits = load_network(config, tmp_path)(torch.tensor(load_dataset("digits").x_test, dtype=torch.float32))
    np.testing.assert_allclose(arrays["test_logits"], logits.numpy(), rtol=1e-5, atol=1e-6)
    with pytest.raises(KeyError, match="Give it to sweep"):
        load_arrays(config.replace(seed=9), tmp_path)
    sweep([BASE], tmp_path)
    assert load_arrays(BASE, tmp_path) == {}
    with pytest.raises(KeyError, match="stored without weights"):
        load_network(BASE, tmp_path)


def test_damaged_arrays_are_refused_when_asked_for(tmp_path):
    config = BASE.replace(outputs=("test_logits",))
    sweep([config], tmp_path)
    entry_files(tmp_path, ".npz")[0].write_bytes(b"PK")
    with pytest.raises(DamagedEntry, match="does not match its checksum"):
        load_arrays(config, tmp_path)


def test_diverged_runs_are_rows_too(tmp_path):
    wild = BASE.replace(loss="squared_error", learning_rate=1e6, epochs=60)
    table = sweep([wild, wild.replace(learning_rate=0.01)], tmp_path)
    assert table["status"].tolist() == ["diverged", "ok"]
    assert np.isnan(table["test_accuracy"][0])
    pd.testing.assert_frame_equal(table, sweep([wild, wild.replace(learning_rate=0.01)], tmp_path), check_exact=True)


def test_bad_lists_are_refused_before_anything_runs(tmp_path, trained):
    for configs in ([], [BASE, {"seed": 1}], [BASE, "digits"]):
        with pytest.raises(ValueError, match="`configs` must be RunConfig objects, at least one"):
            sweep(configs, tmp_path)
    assert trained == []
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_cache_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"Cannot write .* in the folder"):
        sweep(RUNS[:1], tmp_path / "file")


def test_entries_tell_a_reader_which_run_they_are(tmp_path):
    sweep(RUNS[:1], tmp_path)
    content = json.loads(entry_files(tmp_path, ".json")[0].read_text())
    assert content["config"]["num_train"] == 64
    assert content["row"]["seed"] == 0


@pytest.mark.parametrize(
    ("threads", "groups", "address", "variable", "where"),
    [
        (1, 3, "", "", "here"),
        (2, 1, "", "", "here"),
        (2, 3, "", "", ("cpu", 2)),
        (8, 3, "", "", ("cpu", 3)),
        (1, 1, "tcp://a:1", "", "tcp://a:1"),
        (2, 3, "", "tcp://b:1", "tcp://b:1"),
        (2, 3, "tcp://a:1", "tcp://b:1", "tcp://a:1"),
        (2, 0, "tcp://a:1", "", None),
    ],
)
def test_where_groups_are_trained(monkeypatch, threads, groups, address, variable, where):
    from mixup_theory.experiments import cluster, dispatch

    went, closed = [], []
    monkeypatch.setenv("MIXUP_SCHEDULER", variable)
    monkeypatch.setattr(sweep_module.torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(sweep_module, "train_in_process", lambda *_: iter(went.append("here") or ()))
    monkeypatch.setattr(
        cluster, "local_cluster", lambda *asked: went.append(asked) or SimpleNamespace(client=1, tend=2)
    )
    monkeypatch.setattr(cluster, "connect", lambda asked: nullcontext(went.append(asked)))
    monkeypatch.setattr(cluster, "close_local_clusters", lambda: closed.append(1))
    monkeypatch.setattr(dispatch, "train_on_workers", lambda *_: iter([(0, [])]))
    work = train_groups([RUNS[:1]] * groups, "cpu", address, print)
    list(work)
    assert went == ([] if where is None else [where])
    assert not closed
    if isinstance(where, tuple):
        work = train_groups([RUNS[:1]] * groups, "cpu", address, print)
        next(work)
        work.close()  # a sweep that is interrupted ends the workers: they would go on with their groups
        assert closed
