"""Tests of provenance.py: the commit, the code's checksum, the machine, and what stays when a notebook is run again."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from mixup_theory import provenance


@pytest.fixture
def checkout(tmp_path):
    """A checkout with one commit."""
    (tmp_path / "a.py").write_text("1")
    (tmp_path / "results").mkdir()
    for command in (
        ["init", "-q"],
        ["add", "a.py"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "first"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    return tmp_path


def test_commit_and_whether_the_tree_differs_from_it(checkout):
    head = subprocess.run(["git", "-C", str(checkout), "rev-parse", "HEAD"], capture_output=True, text=True).stdout
    assert provenance.commit(checkout) == {"commit": head.strip(), "dirty": False}
    (checkout / "results" / "ledger.json").write_text("{}")  # the suite's own work is no change
    assert provenance.commit(checkout)["dirty"] is False
    (checkout / "b.py").write_text("2")
    assert provenance.commit(checkout)["dirty"] is True


def test_commit_outside_a_checkout_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.commit(tmp_path) == {"commit": None, "dirty": None}
    monkeypatch.setenv("PATH", "")
    assert provenance.commit(tmp_path) == {"commit": None, "dirty": None}


def test_code_version_follows_content_and_names(tmp_path):
    (tmp_path / "a.py").write_text("1")
    first = provenance.code_version(tmp_path)
    assert re.fullmatch(r"[0-9a-f]{64}", first)
    (tmp_path / "notes.txt").write_text("no code")
    assert provenance.code_version(tmp_path) == first
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert provenance.code_version(tmp_path) != first


def test_machine_is_described_without_its_name():
    import socket

    told = provenance.machine()
    assert told.keys() == {"system", "processor", "cores", "memory_gib", "gpus"}
    assert told["cores"] == provenance.cores() >= 1
    assert socket.gethostname() not in json.dumps(told)
    versions = provenance.versions()
    assert {"python", "torch", "numpy", "papermill"} <= versions.keys()


@pytest.mark.parametrize(("quota", "expected"), [("max 100000", 8), ("200000 100000", 2), ("50000 100000", 1)])
def test_cores_obey_a_containers_quota(tmp_path, monkeypatch, quota, expected):
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(provenance, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(provenance.os, "sched_getaffinity", lambda _: set(range(8)))
    assert provenance.cores() == expected


def test_gpus_are_those_the_driver_lists(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.gpus() == []
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho 'NVIDIA H100'\necho\n")
    driver.chmod(0o755)
    assert provenance.gpus() == ["NVIDIA H100"]
    driver.write_text("#!/bin/sh\nexit 9\n")
    assert provenance.gpus() == []


@pytest.mark.parametrize(
    ("asked", "names", "told"), [("auto", [], "cpu"), ("auto", ["H100"], "auto"), ("cuda", ["H100"], "cuda")]
)
def test_run_tells_the_device(tmp_path, monkeypatch, asked, names, told):
    monkeypatch.setattr(provenance, "gpus", lambda: names)
    run = provenance.describe_run(tmp_path, asked)
    assert run["device"] == told
    assert run.keys() == {"commit", "dirty", "code", "device", "machine", "versions"}


def test_update_replaces_only_the_notebooks_just_run(tmp_path):
    provenance.update(tmp_path, "quick", {"commit": "1"}, {"01-a": {"seconds": 1.0}, "02-b": {"seconds": 2.0}})
    path = provenance.update(tmp_path, "quick", {"commit": "2"}, {"02-b": {"seconds": 3.0}})
    told = json.loads(path.read_text())
    assert told["profile"] == "quick"
    seen = {name: (entry["commit"], entry["seconds"]) for name, entry in told["notebooks"].items()}
    assert seen == {"01-a": ("1", 1.0), "02-b": ("2", 3.0)}
    assert all(entry["written"].endswith("+00:00") for entry in told["notebooks"].values())
    path.write_text("{")
    told = json.loads(provenance.update(tmp_path, "quick", {"commit": "3"}, {"01-a": {}}).read_text())
    assert sorted(told["notebooks"]) == ["01-a"]


def test_past_seconds_are_those_of_finished_notebooks(tmp_path):
    entries = {"01-a": {"seconds": 4, "status": "finished"}, "02-b": {"seconds": 9, "status": "failed"}}
    path = provenance.update(tmp_path, "quick", {}, entries)
    assert provenance.past_seconds(tmp_path) == {"01-a": 4.0}
    path.write_text('{"notebooks": []}')
    assert provenance.past_seconds(tmp_path) == {}
