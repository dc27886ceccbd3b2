"""An entry is read as it was written, or named as damaged."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from mixup_theory.experiments.cache import DamagedEntry, cache_folder, read_arrays, read_row, write_entry

KEY = "ab" + "0" * 62
ROW = {"alpha": math.inf, "loss": 0.1 + 0.2, "none": math.nan, "low": -math.inf, "count": 3, "name": "x", "all": None}
ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "weights.0": np.array([1, 2], dtype=np.float32)}


@pytest.fixture
def folder(tmp_path):
    write_entry(tmp_path, KEY, {"alpha": math.inf}, ROW, ARRAYS)
    return tmp_path


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_is_read_is_what_was_written(folder):
    row = read_row(folder, KEY)
    assert repr(row) == repr(ROW)  # NaN included
    arrays = read_arrays(folder, KEY)
    assert arrays.keys() == ARRAYS.keys()
    for name, value in ARRAYS.items():
        assert arrays[name].dtype == value.dtype
        assert np.array_equal(arrays[name], value)


def test_the_same_run_gives_the_same_bytes(folder, tmp_path):
    other = tmp_path / "other"
    write_entry(other, KEY, {"alpha": math.inf}, ROW, ARRAYS)
    ours = [path for path in files(folder) if other not in path.parents]
    assert [p.name for p in ours] == [p.name for p in files(other)]
    assert [p.read_bytes() for p in ours] == [p.read_bytes() for p in files(other)]


def test_absent_is_none_and_no_arrays_are_no_file(tmp_path):
    assert read_row(tmp_path, KEY) is None
    assert read_arrays(tmp_path, KEY) is None
    write_entry(tmp_path, KEY, {}, ROW, {})
    assert read_arrays(tmp_path, KEY) == {}
    assert len(files(tmp_path)) == 1


def test_every_single_flipped_bit_is_found(folder):
    for path in files(folder):
        whole = path.read_bytes()
        for place in range(0, len(whole), 41):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            try:
                row = read_row(folder, KEY)
            except DamagedEntry:
                continue
            assert repr(row) == repr(ROW)  # white space between JSON tokens may go unseen
        path.write_bytes(whole)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"null", b"\xff\xfe", b'{"key": 1, "sha256": 2}'])
def test_other_content_is_damage(folder, content):
    (path,) = (p for p in files(folder) if p.suffix == ".json")
    path.write_bytes(content)
    with pytest.raises(DamagedEntry, match=KEY):
        read_row(folder, KEY)


def test_truncated_or_missing_arrays_are_damage(folder):
    (path,) = (p for p in files(folder) if p.suffix == ".npz")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedEntry, match="does not match its checksum"):
        read_row(folder, KEY)
    path.unlink()
    with pytest.raises(DamagedEntry, match="is missing"):
        read_arrays(folder, KEY)


def test_an_entry_under_another_key_is_damage(folder):
    other = KEY[:2] + "1" * 62
    (path,) = (p for p in files(folder) if p.suffix == ".json")
    path.rename(path.with_name(f"{other}.json"))
    with pytest.raises(DamagedEntry):
        read_row(folder, other)


def test_entries_are_plain_json(folder):
    (path,) = (p for p in files(folder) if p.suffix == ".json")

    def refuse(constant):
        raise AssertionError(constant)

    assert json.loads(path.read_text(), parse_constant=refuse)["row"]["alpha"] == "inf"


def test_objects_cannot_be_stored(tmp_path):
    with pytest.raises(ValueError, match="allow_pickle"):
        write_entry(tmp_path, KEY, {}, {}, {"a": np.array([object()])})


def test_the_folder_comes_from_the_argument_then_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXUP_CACHE", str(tmp_path / "env"))
    assert cache_folder(tmp_path) == tmp_path
    assert cache_folder(None) == tmp_path / "env"
    monkeypatch.delenv("MIXUP_CACHE")
    assert cache_folder(None).parts[-2:] == ("mixup_theory", "runs")


def test_any_single_flipped_bit_is_seen(tmp_path):
    write_entry(tmp_path, KEY, {"seed": 1}, {"status": "ok", "test_loss": 0.25}, {"a": np.arange(3.0)})
    assert read_row(tmp_path, KEY) == {"status": "ok", "test_loss": 0.25}
    for path in [next(tmp_path.rglob("*.json")), next(tmp_path.rglob("*.npz"))]:
        whole = path.read_bytes()
        for bit in range(8 * len(whole)):
            damaged = bytearray(whole)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            with pytest.raises(DamagedEntry):
                read_row(tmp_path, KEY)
        path.write_bytes(whole)
    assert read_row(tmp_path, KEY) == {"status": "ok", "test_loss": 0.25}
