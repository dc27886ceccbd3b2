"""README.md says what results/standard says, its Python runs, and its commands exist."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys

import pytest

from mixup_theory.ledger import read_ledger
from mixup_theory.readme import ROOT, fill, generated

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_generated_parts_are_those_of_the_committed_results() -> None:
    parts = generated(read_ledger(ROOT / "results" / "standard"))
    assert fill(README, parts) == README, "run `python -m mixup_theory.readme`"


def test_a_missing_mark_is_named() -> None:
    with pytest.raises(ValueError, match="<!-- ledger: begin -->"):
        fill("no marks here", {"ledger": ""})


def test_python_of_the_readme_runs() -> None:
    result = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert result.attempted > 0
    assert result.failed == 0


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^\s*make (\w+)", README, re.MULTILINE))
    assert {"reproduce", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_flags_of_the_readme_exist() -> None:
    run = [sys.executable, str(ROOT / "reproduce.py"), "--help"]
    known = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    lines = [line for line in README.splitlines() if "reproduce.py" in line]
    assert lines
    for flag in {flag for line in lines for flag in re.findall(r"(?<=\s)--?[a-z-]+", line)}:
        assert flag in known, flag


def test_links_and_figures_of_the_readme_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target
