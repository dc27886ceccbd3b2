"""Records are cut where the formats say, and the real files give the real data sets."""

from __future__ import annotations

import os

import numpy as np
import pytest

from mixup_theory.experiments import records
from mixup_theory.experiments.config import RunConfig
from mixup_theory.experiments.datasets import load_dataset, run_dataset
from mixup_theory.experiments.downloads import OFFICIAL_FILES

needs_data = pytest.mark.skipif(not os.environ.get("MIXUP_DATA"), reason="MIXUP_DATA names no folder with the files")


def serve(monkeypatch, contents):
    """Let `read_official` return these contents by name."""
    monkeypatch.setattr(records, "read_official", lambda file: contents[file.name])


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(int(n).to_bytes(4, "big") for n in array.shape)
    return header + array.tobytes()


def test_idx_files_keep_shape_and_order():
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert np.array_equal(records.idx_array(idx(array)), array)
    with pytest.raises(ValueError, match="`content` must be an IDX file of unsigned bytes"):
        records.idx_array(b"\x1f\x8b\x08\x00 still packed")
    with pytest.raises(ValueError, match="cannot reshape"):
        records.idx_array(idx(array)[:-1])


def test_fashion_mnist_is_four_idx_files(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (5, 28, 28), dtype=np.uint8), np.arange(5, dtype=np.uint8)
    names = [file.name for file in OFFICIAL_FILES["fashion-mnist"]]
    serve(monkeypatch, dict(zip(names, map(idx, (x, y, x[:2], y[:2])), strict=True)))
    (x_train, y_train), (x_test, y_test) = records.fashion_mnist_records()
    assert np.array_equal(x_train[:, 0], x)
    assert np.array_equal(y_train, y)
    assert x_test.shape == (2, 1, 28, 28)
    assert np.array_equal(y_test, y[:2])


def test_a_cifar_record_is_a_label_and_three_planes(monkeypatch):
    rng = np.random.default_rng(1)
    batches = rng.integers(0, 256, (6, 2, 3073), dtype=np.uint8)
    names = [file.name for file in OFFICIAL_FILES["cifar10"]]
    serve(monkeypatch, {name: batch.tobytes() for name, batch in zip(names, batches, strict=True)})
    (x_train, y_train), (x_test, y_test) = records.cifar10_records()
    assert x_train.shape == (10, 3, 32, 32)
    assert y_train[3] == batches[1, 1, 0]
    assert x_train[3, 2, 5, 7] == batches[1, 1, 1 + 2 * 1024 + 5 * 32 + 7]
    assert np.array_equal(y_test, batches[5, :, 0])
    assert x_test.shape == (2, 3, 32, 32)


def test_location_is_a_quoted_label_and_bits(monkeypatch):
    serve(monkeypatch, {"bangkok": b'"13",0,1,1\n"1",1,0,0\n'})
    x, y = records.location30_records()
    assert x.tolist() == [[0, 1, 1], [1, 0, 0]]
    assert y.tolist() == [12, 0]


@needs_data
@pytest.mark.parametrize(
    ("name", "train", "test", "classes"),
    [
        ("fashion-mnist", (60_000, 1, 28, 28), (10_000, 1, 28, 28), 10),
        ("cifar10", (50_000, 3, 32, 32), (10_000, 3, 32, 32), 10),
        ("location30", (3_510, 446), (1_500, 446), 30),
    ],
)
def test_the_real_sets(name, train, test, classes):
    data = load_dataset(name)
    assert data.x_train.shape == train
    assert data.x_test.shape == test
    assert data.num_classes == classes
    assert set(np.unique(data.y_train)) == set(range(classes))
    if name != "location30":
        assert np.all(np.bincount(data.y_train) == train[0] // classes)
        assert np.all(np.bincount(data.y_test) == test[0] // classes)
    assert abs(float(data.x_train.mean())) < 1e-5
    assert abs(float(data.x_train.std()) - 1) < 1e-4
    assert run_dataset(RunConfig(dataset=name, num_train=10)).x_train.shape == (10, *train[1:])


@needs_data
def test_location_has_the_published_form():
    x, y = records.location30_records()
    assert set(np.unique(x)) == {0, 1}
    assert len(y) == 5010
