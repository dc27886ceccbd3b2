"""The rooms of the package: no torch at import, one docstring line first, a test file each, none too long."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
THEORY = sorted((ROOT / "mixup_theory").glob("*.py"))
MODULES = [*THEORY, *sorted((ROOT / "mixup_theory" / "experiments").glob("*.py")), ROOT / "reproduce.py"]
TESTED_ELSEWHERE = {  # module -> the test file that covers it
    "__init__": "test_package",
    "_checks": "test_checks",
    "_files": "test_files",
    "_threads": "test_training",
    "annealing_derivations": "test_annealing",
    "results": "test_execution",
    "runner": "test_execution",
}


def test_no_theory_module_imports_torch_or_the_experiments() -> None:
    names = ["mixup_theory", *(f"mixup_theory.{path.stem}" for path in THEORY if path.stem != "__init__")]
    code = (
        f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\n"
        "bad = [n for n in sys.modules if n == 'torch' or n.startswith('mixup_theory.experiments')]\nprint(bad)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_says_what_it_is_and_stays_one_idea(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring
    assert docstring.splitlines()[0].endswith((".", ":"))
    assert len(text.splitlines()) <= 350


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_every_module_has_a_test_file(path: Path) -> None:
    name = TESTED_ELSEWHERE.get(path.stem, f"test_{path.stem}")
    if path.stem == "__init__":
        return
    assert (ROOT / "tests" / f"{name}.py").exists(), f"{path.name} has no tests/{name}.py"


def test_the_package_says_its_version_and_notation() -> None:
    import mixup_theory

    assert mixup_theory.__version__
    for symbol in ("alpha", "lam", "partner", "g*"):
        assert symbol in mixup_theory.__doc__
