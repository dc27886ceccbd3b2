"""Groups side by side: the same numbers on any number of threads, and nothing left running behind."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from mixup_theory.experiments import lanes
from mixup_theory.experiments.config import RunConfig, grid
from mixup_theory.experiments.lanes import train, train_groups
from mixup_theory.experiments.training import form_groups

BASE = RunConfig(method="mixup", alpha=1.0, num_train=64, batch_size=32, epochs=2, hidden=(8,), outputs=("weights",))
GROUPS = form_groups([run for width in (4, 5, 6) for run in grid(BASE.replace(hidden=(width,)), seed=range(3))])


@pytest.fixture
def threads():
    """Set the number of torch threads, and the old one afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def lane_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("lane")]


def test_the_number_of_threads_changes_no_bit(threads):
    found = []
    for count in (1, 3):
        threads(count)
        found.append(dict(train_groups(GROUPS)))
        assert torch.get_num_threads() == count
    for position in range(len(GROUPS)):
        for one, two in zip(found[0][position], found[1][position], strict=True):
            assert repr(one.row) == repr(two.row)
            assert all(np.array_equal(value, two.arrays[name]) for name, value in one.arrays.items())


def test_each_group_comes_once_with_its_own_results():
    seen = {position: [result.config for result in results] for position, results in train_groups(GROUPS)}
    assert seen == dict(enumerate(GROUPS))


def test_ticks_end_at_the_number_of_runs():
    ticks = []
    list(train_groups(GROUPS, on_tick=ticks.append))
    assert ticks == sorted(ticks)
    assert ticks[-1] == 9


def test_an_error_in_one_group_stops_the_others_and_is_raised(threads, monkeypatch):
    threads(2)
    trained = []

    def failing(configs, device, on_epoch):
        if configs is GROUPS[0]:
            raise MemoryError("too large")
        trained.append(configs)
        return []

    monkeypatch.setattr(lanes, "train_group", failing)
    with pytest.raises(MemoryError, match="too large"):
        list(train_groups(GROUPS * 50))
    assert len(trained) < 100
    assert lane_threads() == []
    assert torch.get_num_threads() == 2


def test_a_caller_that_stops_leaves_no_thread_and_no_setting(threads):
    threads(2)
    long = form_groups(grid(BASE.replace(epochs=100_000), seed=range(40)))
    work = train_groups([GROUPS[0], *long])
    next(work)
    work.close()  # as an exception in the loop over it does
    assert lane_threads() == []
    assert torch.get_num_threads() == 2


def test_too_many_points_are_an_error_before_training():
    with pytest.raises(ValueError, match="`num_train` must be at most 1297"):
        train([BASE.replace(num_train=5000)])
