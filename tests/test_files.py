"""Atomic files: a kill or an error leaves the old content, and nothing else is left behind."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from mixup_theory import _files
from mixup_theory._files import write_bytes_atomic, write_json_atomic, write_parquet_atomic, write_text_atomic


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    assert write_bytes_atomic(path, b"\x00\x01") == path
    assert path.read_bytes() == b"\x00\x01"
    write_text_atomic(path, "α → 0\n")
    assert path.read_text(encoding="utf-8") == "α → 0\n"
    write_json_atomic(path, {"a": np.float64(0.1), "b": np.arange(2), "c": None, "d": 1e-300})
    assert json.loads(path.read_text()) == {"a": 0.1, "b": [0, 1], "c": None, "d": 1e-300}
    frame = pd.DataFrame({"x": [0.1, 1 / 3], "name": ["a", "ß"]}, index=[5, 7])
    write_parquet_atomic(path, frame)
    pd.testing.assert_frame_equal(pd.read_parquet(path), frame.reset_index(drop=True))
    assert os.listdir(path.parent) == ["file"]


def test_the_same_content_gives_the_same_bytes(tmp_path):
    frame = pd.DataFrame({"x": [0.1, 0.2]})
    contents = [write_parquet_atomic(tmp_path / str(k), frame).read_bytes() for k in range(2)]
    assert contents[0] == contents[1]


def test_permissions_follow_the_umask(tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("")
    assert write_text_atomic(tmp_path / "atomic", "").stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize("bad", [math.nan, math.inf, {"a": [1.0, math.nan]}, object(), np.array([np.nan])])
def test_json_refuses_what_it_cannot_say(tmp_path, bad):
    path = write_json_atomic(tmp_path / "x.json", 1)
    with pytest.raises(ValueError, match=r"`value` for x\.json must be JSON"):
        write_json_atomic(path, bad)
    assert path.read_text() == "1\n"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_interrupted_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, error):
    path = write_text_atomic(tmp_path / "x", "old")

    def fail(_):
        raise error

    monkeypatch.setattr(_files.os, "fsync", fail)
    with pytest.raises(type(error)):
        write_text_atomic(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x"]


def test_a_full_disk_names_the_folder_and_keeps_its_error_number(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_files.os, "fsync", full)
    with pytest.raises(OSError, match=r"Cannot write x in the folder .*No space left") as caught:
        write_text_atomic(tmp_path / "x", "")
    assert caught.value.errno == 28
    assert str(tmp_path) in str(caught.value)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "taken").write_text("a file where the folder should be")
    with pytest.raises(OSError, match=r"Cannot write x in the folder .*taken"):
        write_text_atomic(tmp_path / "taken" / "x", "")


def test_a_killed_writer_leaves_a_whole_file(tmp_path):
    path = tmp_path / "big.json"
    program = (
        "import sys; from mixup_theory._files import write_text_atomic as w\n"
        "k = 0\n"
        "while True:\n"
        "    k += 1; w(sys.argv[1], str(k % 10) * 200_000)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(path)])
    try:
        while not path.exists():
            assert process.poll() is None
            time.sleep(0.01)
        for _ in range(100):  # read while it is being replaced
            text = path.read_text()
            assert len(text) == 200_000
            assert text == text[0] * 200_000
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(path.read_text()) == 200_000
    assert all(name == "big.json" or name.startswith(".big.json.") for name in os.listdir(tmp_path))


def test_two_writers_of_one_file_do_not_meet(tmp_path, monkeypatch):
    seen = []
    replace = os.replace
    monkeypatch.setattr(_files.os, "replace", lambda a, b: (seen.append(str(a)), replace(a, b)))
    for _ in range(3):
        write_text_atomic(tmp_path / "x", "")
    assert len(set(seen)) == 3
