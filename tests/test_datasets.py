"""The split is fixed, standardisation sees training data only, and each run owns its subset and its wrong labels."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from mixup_theory.experiments.config import RunConfig
from mixup_theory.experiments.datasets import (
    Streams,
    load_dataset,
    run_dataset,
    run_index,
    run_labels,
    validation_index,
    validation_labels,
)


def test_digits_are_the_real_ones_each_used_once():
    data, bunch = load_dataset("digits"), load_digits()
    assert data.x_train.shape == (1297, 64)
    assert data.x_test.shape == (500, 64)
    assert data.num_classes == 10
    both = np.concatenate([data.x_train, data.x_test])
    pixels = np.round((both - both.min()) / (both.max() - both.min()) * 16)  # undo the scaling
    ours, theirs = np.lexsort(pixels.T), np.lexsort(bunch.data.T)
    assert np.array_equal(pixels[ours], bunch.data[theirs])
    assert np.array_equal(np.concatenate([data.y_train, data.y_test])[ours], bunch.target[theirs])


def test_split_and_content_never_change():
    # The checksum is part of every cache key: a new value makes all stored runs absent.
    assert load_dataset("digits").checksum == "7dcba56b79850a34e9af4f697312049354383085e41721a9c96d7bbb80344258"


def test_standardised_by_the_training_points():
    data = load_dataset("digits")
    assert abs(data.x_train.mean()) < 1e-12
    assert abs(data.x_train.std() - 1) < 1e-12
    assert abs(data.x_test.mean()) > 1e-4


def test_shared_arrays_are_read_only_and_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="read-only"):
        load_dataset("digits").x_train[0] = 0
    with pytest.raises(ValueError, match="`name` must be one of digits"):
        load_dataset("mnist")


def test_subset_is_nested_and_its_labels_belong_to_it():
    small, large = run_dataset(RunConfig(num_train=50, seed=3)), run_dataset(RunConfig(num_train=90, seed=3))
    full = load_dataset("digits")
    assert np.array_equal(small.x_train, large.x_train[:50])
    place = {x.tobytes(): i for i, x in enumerate(full.x_train)}
    assert np.array_equal(small.y_clean, [full.y_clean[place[x.tobytes()]] for x in small.x_train])
    other = run_dataset(RunConfig(num_train=50, seed=4))
    assert not np.array_equal(small.x_train, other.x_train)
    assert np.array_equal(small.x_test, other.x_test)


@pytest.mark.parametrize("noise", [0.0, 0.2, 0.4, 1.0])
def test_exactly_the_stated_share_of_labels_is_wrong(noise):
    data = run_dataset(RunConfig(num_train=1000, label_noise=noise, seed=1))
    wrong = data.y_train != data.y_clean
    assert wrong.sum() == round(noise * 1000)
    assert set(np.unique(data.y_train)) <= set(range(10))


def test_wrong_labels_are_nested_and_uniform_over_the_other_classes():
    few, many = (run_dataset(RunConfig(num_train=1297, label_noise=r, seed=2)) for r in (0.2, 0.4))
    wrong = few.y_train != few.y_clean
    assert np.array_equal(few.y_train[wrong], many.y_train[wrong])
    clean = np.repeat(np.arange(10), 9000)
    given = run_labels(RunConfig(label_noise=1.0), clean, 10, Streams(5))
    counts = np.zeros((10, 10))
    np.add.at(counts, (clean, given), 1)
    assert np.all(np.diag(counts) == 0)
    off = counts[~np.eye(10, dtype=bool)]
    assert np.abs(off - 1000).max() < 6 * np.sqrt(1000)


def test_what_a_run_sees_depends_on_its_seed_only_where_stated():
    base = run_dataset(RunConfig(num_train=100, label_noise=0.3, seed=7))
    same = run_dataset(
        RunConfig(num_train=100, label_noise=0.3, seed=7, method="mixup", alpha=1.0, hidden=(5,), epochs=3)
    )
    assert np.array_equal(base.x_train, same.x_train)
    assert np.array_equal(base.y_train, same.y_train)


def test_streams_are_distinct():
    streams = Streams(0)
    names = ("subset", "noise", "init", "order", "mixing", "labels", "layers", "moves")
    draws = [getattr(streams, name).random() for name in names]
    assert len(set(draws)) == 8
    first = [np.random.default_rng(child).random() for child in np.random.SeedSequence(0).spawn(6)]
    assert draws[:6] == first  # what was added later changed none of them


def test_validation_points_are_the_same_for_every_run_and_never_trained_on():
    data, total = load_dataset("digits"), 1297
    run = RunConfig(num_validation=200)
    held_out = validation_index(run, data)
    assert len(np.unique(held_out)) == 200
    assert np.array_equal(held_out[:50], validation_index(run.replace(num_validation=50, seed=9), data))
    assert np.array_equal(validation_labels(run), data.y_clean[held_out])
    for seed in range(3):
        seen = run_index(run.replace(seed=seed), data, Streams(seed))
        assert len(seen) == total - 200
        assert not np.isin(seen, held_out).any()
        none = run_index(RunConfig(seed=seed), data, Streams(seed))
        assert np.array_equal(none, Streams(seed).subset.permutation(total))
    with pytest.raises(ValueError, match="`num_train` must be at most 1097 for digits, got 1098"):
        run_index(run.replace(num_train=1098), data, Streams(0))
    with pytest.raises(ValueError, match="`num_validation` must be below 1297 for digits, got 1297"):
        validation_index(RunConfig(num_validation=total), data)


def test_too_many_points_are_refused():
    config = RunConfig(num_train=1298)
    with pytest.raises(ValueError, match="`num_train` must be at most 1297 for digits, got 1298"):
        run_index(config, load_dataset("digits"), Streams(0))
