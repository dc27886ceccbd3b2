"""Tests of progress.py: the file between sweep and runner, and what a terminal and a pipe are shown."""

from __future__ import annotations

import io

import pytest

from mixup_theory.progress import (
    DATASETS_VARIABLE,
    PROGRESS_VARIABLE,
    Board,
    Progress,
    duration,
    read_datasets,
    read_progress,
    report_dataset,
    report_progress,
)


def test_report_is_read_back(tmp_path, monkeypatch):
    path = tmp_path / "runs"
    monkeypatch.setenv(PROGRESS_VARIABLE, str(path))
    report_progress(3, 40, 12.5)
    assert read_progress(path) == Progress(3, 40, 12.5)
    report_progress(4, 40)
    assert read_progress(path) == Progress(4, 40, None)
    assert [file.name for file in tmp_path.iterdir()] == ["runs"]


def test_datasets_are_collected_once_each(tmp_path, monkeypatch):
    monkeypatch.delenv(DATASETS_VARIABLE, raising=False)
    report_dataset("digits", "12ab")
    monkeypatch.setenv(DATASETS_VARIABLE, str(tmp_path / "datasets"))
    for name in ("digits", "circles", "digits"):
        report_dataset(name, f"{name}-sum")
    assert read_datasets(tmp_path / "datasets") == {"circles": "circles-sum", "digits": "digits-sum"}
    (tmp_path / "datasets").write_text('["digits"')
    assert read_datasets(tmp_path / "datasets") == {}


def test_report_without_a_file_or_with_a_bad_one_does_nothing(tmp_path, monkeypatch):
    monkeypatch.delenv(PROGRESS_VARIABLE, raising=False)
    report_progress(1, 2)
    monkeypatch.setenv(PROGRESS_VARIABLE, str(tmp_path / "missing" / "runs"))
    report_progress(1, 2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"done": 1}', '{"done": 1, "total": 2, "more": 3}'])
def test_damaged_file_is_no_progress(tmp_path, content):
    (tmp_path / "runs").write_text(content)
    assert read_progress(tmp_path / "runs") is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7260, "2 h 01 min"),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        """Say so."""
        return True


def test_pipe_gets_only_the_lines_that_stay():
    stream = io.StringIO()
    board = Board(stream, interval=0)
    board.show({"01-a": "cell 1/9"})
    board.say("01-a  finished")
    board.show({"02-b": "cell 1/9"})
    assert stream.getvalue() == "01-a  finished\n"


def test_terminal_replaces_the_moving_lines():
    stream = Terminal()
    board = Board(stream, interval=0)
    board.show({"01-a": "cell 1/9", "02-long": "starting"})
    board.say("01-a  finished")
    board.show({"02-long": "x" * 500})
    first = "01-a     cell 1/9\n02-long  starting\n"
    start, last = stream.getvalue().split("01-a  finished\n")
    assert start == first + "\x1b[2F\x1b[J"
    assert len(last) < 500  # cut to the terminal's width: a wrapped line could not be erased
    board.say("end")
    assert stream.getvalue().endswith("\x1b[1F\x1b[Jend\n")
