"""What lies in a results folder: whether a notebook's part is whole, and whether the verdicts follow from the rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mixup_theory.parameters import Notebook
from mixup_theory.provenance import code_version

__all__ = ["CLEARED", "EXECUTED", "MARKER", "checksums", "find_differences", "fingerprint", "is_done", "is_finished"]

EXECUTED = "executed.ipynb"
MARKER = "done.json"
CLEARED = ("*.ipynb", "*.json", "*.parquet", "*.png")
"""What a run removes from its output folder first: a failed run leaves nothing of the run before it."""

PLACES = ("output_dir", "cache_dir", "data_dir", "scheduler")
"""Parameters that say where, not what: the same results at another place are the same results."""


def fingerprint(notebook: Notebook, parameters: Mapping[str, Any]) -> str:
    """Checksum all that a notebook's results depend on: its cells, its parameters, the package's code.

    Args:
        notebook: The notebook.
        parameters: What it gets; the names in `PLACES` do not count.

    Returns:
        A SHA-256.
    """
    counted = {name: value for name, value in parameters.items() if name not in PLACES}
    told = json.dumps([notebook.name, notebook.sha256, counted, code_version()], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def is_done(output_dir: Path, key: str) -> bool:
    """Tell whether a folder holds the whole results of the run with this fingerprint.

    Args:
        output_dir: The folder of one notebook.
        key: The run's fingerprint.

    Returns:
        True only if the marker is there, bears the key, and every file it names is there unchanged.
    """
    try:
        marker = json.loads((output_dir / MARKER).read_text(encoding="utf-8"))
        return marker["key"] == key and marker["files"] == checksums(output_dir)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def is_finished(output_dir: Path) -> bool:
    """Tell whether a folder's run came to its end, with whatever code; the claims of any other do not count.

    Args:
        output_dir: The folder of one notebook; committed results have no marker, but their executed copy says it.

    Returns:
        True only if the executed copy is there and is not that of a run that failed.
    """
    try:
        notebook = json.loads((output_dir / EXECUTED).read_text(encoding="utf-8"))
        return notebook["metadata"]["papermill"]["exception"] is False
    except (OSError, ValueError, KeyError, TypeError):
        return False


def checksums(folder: Path) -> dict[str, str]:
    """Checksum every result in a folder.

    Args:
        folder: The folder of one notebook.

    Returns:
        The SHA-256 of each file by its name; the marker itself does not count.
    """
    files = sorted({path for pattern in CLEARED for path in folder.glob(pattern)} - {folder / MARKER})
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def find_differences(folder: Path, notebooks: Iterable[str]) -> list[str]:
    """Compare what is stored at one scale with what the stored rows say; nothing is run and nothing is written.

    Args:
        folder: `results/<profile>`.
        notebooks: The notebooks whose results must be there.

    Returns:
        One line for each number or verdict that does not follow from its rows, each claim without a verdict, and each
        executed notebook that is missing or has an error in it. Empty when all is well.
    """
    from mixup_theory.claims import missing_claims  # a second of imports that --list should not pay
    from mixup_theory.ledger import read_ledger, recompute

    differences, names = recompute(folder), list(notebooks)
    for name in names:
        try:
            cells = json.loads((folder / name / EXECUTED).read_text(encoding="utf-8"))["cells"]
        except (OSError, ValueError, KeyError) as error:
            differences.append(f"{name}/{EXECUTED}: cannot be read ({type(error).__name__})")
            continue
        errors = [out["evalue"] for cell in cells for out in cell.get("outputs", []) if out["output_type"] == "error"]
        differences += [f"{name}/{EXECUTED}: ends in an error: {error}" for error in errors]
    try:
        present = [claim.id for claim in read_ledger(folder).claims]
    except ValueError:
        return differences  # recompute has said so
    return differences + [f"{claim}: has no verdict" for claim in missing_claims(present, names)]
