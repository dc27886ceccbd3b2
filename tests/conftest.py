"""Options and fixtures that more than one test file needs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

PARAMETERS = """profile: str = "quick"  # scale
output_dir: str = "out"  # receives the results
cache_dir: str = "cache"  # trained runs
seed: int = 0  # root of every random number
rate: float = 0.5  # a number
alphas: list[float] = [0.2, 1.0]  # several numbers
mode: str = "none"  # what to do"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--oracles", default=None, metavar="FILE", help="a file in the form of tests/oracles.json")


@pytest.fixture(scope="session")
def notebook_file() -> Callable[..., Path]:
    """A writer of notebooks of the suite's form: title, parameters cell, then the given code cells."""

    def write(path: Path, cells: Sequence[str], parameters: str = PARAMETERS) -> Path:
        def cell(number: int, kind: str, source: str, tags: Sequence[str] = ()) -> dict[str, object]:
            code = {"outputs": [], "execution_count": None} if kind == "code" else {}
            metadata = {"tags": list(tags)} if tags else {}
            return {"cell_type": kind, "id": f"cell-{number}", "metadata": metadata, "source": source, **code}

        title = cell(0, "markdown", f"# {path.stem[:2]} Title of {path.stem}\n\nText.")
        signature = cell(1, "code", parameters, ["parameters"])
        body = [cell(number, "code", source) for number, source in enumerate(cells, 2)]
        python3 = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        notebook = {"cells": [title, signature, *body], "metadata": python3, "nbformat": 4, "nbformat_minor": 5}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(notebook), encoding="utf-8")
        return path

    return write
