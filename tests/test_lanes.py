"""Groups side by side: the same numbers on any number of lanes, and nothing left running behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import torch

from mixup_theory.experiments import lanes
from mixup_theory.experiments.config import RunConfig, grid
from mixup_theory.experiments.lanes import LaneDied, train, train_groups
from mixup_theory.experiments.training import form_groups, train_group

BASE = RunConfig(method="mixup", alpha=1.0, num_train=64, batch_size=32, epochs=2, hidden=(8,), outputs=("weights",))
GROUPS = form_groups([run for width in (4, 5, 6) for run in grid(BASE.replace(hidden=(width,)), seed=range(3))])


@pytest.fixture
def threads():
    """Set the number of torch threads, and the old one afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_the_number_of_lanes_changes_no_bit(threads):
    found = []
    for count in (1, 2, 5):
        threads(count)
        found.append(dict(train_groups(GROUPS)))
        assert torch.get_num_threads() == count
    for other in found[1:]:
        for position in range(len(GROUPS)):
            for one, two in zip(found[0][position], other[position], strict=True):
                assert repr(one.row) == repr(two.row)
                assert one.arrays.keys() == two.arrays.keys()
                assert all(np.array_equal(value, two.arrays[name]) for name, value in one.arrays.items())


@pytest.mark.parametrize("count", [1, 2])
def test_each_group_comes_once_with_its_own_results(threads, count):
    threads(count)
    seen = {position: [result.config for result in results] for position, results in train_groups(GROUPS)}
    assert seen == dict(enumerate(GROUPS))
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("count", [1, 2])
def test_ticks_rise_to_the_number_of_runs(threads, monkeypatch, count):
    threads(count)
    monkeypatch.setattr(lanes, "TICK_SECONDS", 0.0)
    ticks = []
    list(train_groups(GROUPS, on_tick=ticks.append))
    assert ticks == sorted(ticks)
    assert len(ticks) > 3  # some within a group
    assert ticks[-1] == 9


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_in_a_group_is_raised_and_ends_the_others(threads, monkeypatch, count):
    threads(count)

    def failing(configs, device, on_epoch):
        if configs == GROUPS[1]:
            raise MemoryError("too large")
        return train_group(configs, device, on_epoch)

    monkeypatch.setattr(lanes, "train_group", failing)
    with pytest.raises(MemoryError, match="too large"):
        list(train_groups(GROUPS * 50))
    assert multiprocessing.active_children() == []
    assert torch.get_num_threads() == count


@pytest.mark.parametrize("count", [1, 2])
def test_a_caller_that_stops_leaves_no_process_and_no_setting(threads, count):
    threads(count)
    long = form_groups(grid(BASE.replace(epochs=10_000_000), seed=range(40)))
    work = train_groups([GROUPS[0], *long])
    next(work)
    work.close()  # as an exception in the loop over it does
    assert multiprocessing.active_children() == []
    assert torch.get_num_threads() == count


def test_a_killed_lane_is_named_with_its_runs(threads, monkeypatch):
    threads(2)

    def dying(configs, device, on_epoch):
        if configs == GROUPS[1]:
            os.kill(os.getpid(), signal.SIGKILL)
        return train_group(configs, device, on_epoch)

    monkeypatch.setattr(lanes, "train_group", dying)
    with pytest.raises(LaneDied, match=r"exit code -9 while it trained 3 runs like RunConfig\(.*hidden=\(5,\)"):
        list(train_groups(GROUPS))
    assert multiprocessing.active_children() == []


def test_lanes_end_with_the_process_that_asked(tmp_path):
    script = textwrap.dedent(
        """
        import multiprocessing, os, sys, torch
        from mixup_theory.experiments.config import RunConfig, grid
        from mixup_theory.experiments.lanes import train_groups
        torch.set_num_threads(2)
        base = RunConfig(num_train=64, batch_size=32, hidden=(8,), epochs=10_000_000)
        def tick(done):
            with open(sys.argv[1] + ".part", "w") as file:
                print(*(child.pid for child in multiprocessing.active_children()), file=file)
            os.replace(sys.argv[1] + ".part", sys.argv[1])
        list(train_groups([[run] for run in grid(base, seed=range(2))], on_tick=tick))
        """
    )
    told = tmp_path / "lanes"
    process = subprocess.Popen([sys.executable, "-c", script, str(told)])
    deadline = time.monotonic() + 120
    while not told.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    children = [int(pid) for pid in told.read_text().split()]
    process.kill()
    process.wait()
    assert len(children) == 2
    while any(map(alive, children)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(alive, children))


def alive(pid):
    """Whether a process runs; one that only waits to be collected does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_too_many_points_are_an_error_before_training():
    with pytest.raises(ValueError, match="`num_train` must be at most 1297"):
        train([BASE.replace(num_train=5000)])
