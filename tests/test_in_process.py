"""Groups one after another in this process: the same numbers on any number of threads, and ticks while they train."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mixup_theory.experiments import in_process
from mixup_theory.experiments.config import RunConfig, grid
from mixup_theory.experiments.in_process import resolve_device, train, train_in_process
from mixup_theory.experiments.training import form_groups

BASE = RunConfig(method="mixup", alpha=1.0, num_train=64, batch_size=32, epochs=2, hidden=(8,), outputs=("weights",))
GROUPS = form_groups([run for width in (4, 5, 6) for run in grid(BASE.replace(hidden=(width,)), seed=range(3))])


@pytest.fixture
def threads():
    """Set the number of torch threads, and the old one afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_the_number_of_threads_changes_no_bit(threads):
    found = []
    for count in (1, 3):
        threads(count)
        found.append(dict(train_in_process(GROUPS)))
        assert torch.get_num_threads() == count
    for position in range(len(GROUPS)):
        for one, two in zip(found[0][position], found[1][position], strict=True):
            assert repr(one.row) == repr(two.row)
            assert all(np.array_equal(value, two.arrays[name]) for name, value in one.arrays.items())


def test_each_group_comes_once_with_its_own_results():
    seen = {position: [result.config for result in results] for position, results in train_in_process(GROUPS)}
    assert seen == dict(enumerate(GROUPS))


def test_ticks_rise_within_a_group_and_end_at_the_number_of_runs(monkeypatch):
    monkeypatch.setattr(in_process, "TICK_SECONDS", -1.0)
    ticks = []
    list(train_in_process(GROUPS, on_tick=ticks.append))
    assert ticks == [3 * group + part for group in range(3) for part in (0.75, 2.25, 3)]


def test_an_error_leaves_the_number_of_threads(threads, monkeypatch):
    def failing(*_):
        raise MemoryError("too large")

    threads(2)
    monkeypatch.setattr(in_process, "train_group", failing)
    with pytest.raises(MemoryError, match="too large"):
        list(train_in_process(GROUPS))
    assert torch.get_num_threads() == 2


def test_auto_is_a_gpu_where_there_is_one(monkeypatch):
    for found, device in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda found=found: found)
        assert resolve_device("auto") == device
        assert resolve_device("cuda") == "cuda"


def test_too_many_points_are_an_error_before_training():
    with pytest.raises(ValueError, match="`num_train` must be at most 1297"):
        train([BASE.replace(num_train=5000)])
