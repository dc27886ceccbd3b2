"""Tests of the environment: pyproject.toml, requirements.lock and environment.yml agree, and hold no torchvision."""

from __future__ import annotations

import json
import os
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
LOCK = dict(pin.split("==") for pin in PINS)
NAMED = re.compile(r"([A-Z]\w+)(?: et al\.| and [A-Z]\w+) ((?:19|20)\d\d)")
WANTED = [Requirement(text) for text in PROJECT["dependencies"]] + [
    Requirement(text) for extra in PROJECT["optional-dependencies"].values() for text in extra
]


def test_lock_is_nothing_but_pins():
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9-]*==[0-9][^ +;]*", pin) for pin in PINS)
    assert list(LOCK) == sorted(LOCK)
    assert len(LOCK) == len(PINS)


@pytest.mark.parametrize("wanted", WANTED, ids=str)
def test_lock_has_every_direct_dependency_in_its_range(wanted):
    assert wanted.specifier.contains(LOCK[canonicalize_name(wanted.name)])


def test_torch_is_one_that_installs_everywhere():
    assert LOCK["torch"] == "2.13.0"
    assert not [name for name in LOCK if name.startswith(("nvidia", "cuda", "triton"))]


def test_torchvision_is_nowhere():
    assert "torchvision" not in LOCK
    assert "torchvision" not in [wanted.name for wanted in WANTED]
    for folder in ("mixup_theory", "notebooks", "benchmarks", "tests"):
        for path in [*(ROOT / folder).rglob("*.py"), *(ROOT / folder).rglob("*.ipynb")]:
            assert not re.search(r"(import|from) torchvision", path.read_text()), path


def test_conda_gives_python_and_pip_and_then_the_lock():
    told = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert told["name"] == PROJECT["name"]
    assert told["dependencies"] == ["python=3.11", "pip", {"pip": ["-r requirements.lock", "-e ."]}]
    assert PROJECT["requires-python"] == ">=3.11"


def test_makefile_describes_its_targets_and_builds_the_environment_first():
    makefile = (ROOT / "Makefile").read_text()
    targets = dict(re.findall(r"^([a-z]+):(.*?) ?## \S", makefile, re.MULTILINE))
    assert sorted(targets) == ["bench", "clean", "help", "lint", "reproduce", "standard", "test"]
    needing = {name for name, needs in targets.items() if ".venv/.ok" in needs}
    assert needing == {"reproduce", "standard", "test", "lint", "bench"}
    assert ".venv/.ok: requirements.lock pyproject.toml" in makefile
    assert "pip install --quiet --disable-pip-version-check -r requirements.lock" in makefile


def test_licence_is_the_same_everywhere():
    licence = (ROOT / "LICENSE").read_text()
    assert licence.startswith("MIT License\n\nCopyright (c) 2026 The mixup_theory authors")
    assert (PROJECT["license"], PROJECT["license-files"]) == ("MIT", ["LICENSE"])


def test_citation_names_the_package_and_the_papers():
    told = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (told["cff-version"], told["title"]) == ("1.2.0", PROJECT["name"])
    assert (told["version"], told["license"]) == (PROJECT["version"], PROJECT["license"])
    papers = {(paper["authors"][0]["family-names"], paper["year"]) for paper in told["references"]}
    assert {("Zhang", 2018), ("Verma", 2019), ("Guo", 2019), ("Carratino", 2022), ("Liu", 2023)} <= papers
    assert all(paper.keys() >= {"type", "title", "authors", "url"} for paper in told["references"])


def test_every_paper_named_as_a_claims_source_can_be_cited():
    told = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    papers = {(paper["authors"][0]["family-names"], paper["year"]) for paper in told["references"]}
    code = [
        "".join(cell["source"])
        for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
        for cell in json.loads(path.read_text())["cells"]
        if cell["cell_type"] == "code"
    ]
    named = {(name, int(year)) for text in code for name, year in re.findall(NAMED, text)}
    assert ("Liu", 2023) in named
    assert named <= papers


def test_ci_runs_what_the_makefile_offers():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    lines = script.read_text().splitlines()
    steps = [line for line in lines if line.startswith("make ")]
    assert steps == ["make clean", "make lint", "make test", "make reproduce"]
    assert "set -euo pipefail" in lines
