"""Where results come from: commit, code, library versions, machine, seconds; kept beside them as provenance.json."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mixup_theory._files import write_json_atomic

__all__ = [
    "PROVENANCE",
    "code_version",
    "commit",
    "cores",
    "describe_run",
    "machine",
    "past_seconds",
    "update",
    "versions",
]

PROVENANCE = "provenance.json"
QUOTA = Path("/sys/fs/cgroup/cpu.max")

PACKAGES = (
    "torch numpy scipy pandas pyarrow sympy statsmodels scikit-learn matplotlib seaborn papermill nbclient ipykernel "
    "pydantic distributed torchmetrics"
).split()


def code_version(package: Path = Path(__file__).parent) -> str:
    """Checksum the package's own source.

    Args:
        package: The folder of the package.

    Returns:
        The SHA-256 over every module's path and content.
    """
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def commit(root: Path) -> dict[str, Any]:
    """Name the commit that a checkout is at.

    Args:
        root: The root of the checkout.

    Returns:
        `commit` (None outside a checkout) and `dirty`: whether tracked or new files outside `results` differ from it.
    """
    git = ["git", "-C", str(root)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        status = [*git, "status", "--porcelain", "--", ".", ":(exclude)results"]
        changed = subprocess.run(status, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}
    return {"commit": head, "dirty": bool(changed.strip())}


def versions() -> dict[str, str]:
    """List Python and the libraries that results depend on, without importing them.

    Returns:
        Name and version of each; a library that is not installed is left out.
    """
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def cores() -> int:
    """Count the cores this process may use: the affinity mask, cut by a container's quota.

    Returns:
        At least 1.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = QUOTA.read_text().split()
    except (OSError, ValueError):
        return count
    return count if quota == "max" else max(1, min(count, int(quota) // int(period)))


def machine() -> dict[str, Any]:
    """Describe the machine, without its name or its user's.

    Returns:
        `system`, `processor`, `cores`, `memory_gib` and `gpus` (their names, an empty list without any).
    """
    processor, memory = platform.processor() or platform.machine(), None
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (OSError, StopIteration, ValueError):
        pass
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor,
        "cores": cores(),
        "memory_gib": memory,
        "gpus": gpus(),
    }


def gpus() -> list[str]:
    """Name the NVIDIA GPUs that the driver lists.

    Returns:
        Their names; empty without a driver.
    """
    if not shutil.which("nvidia-smi"):
        return []
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in listed.splitlines() if line.strip()]


def describe_run(root: Path, device: str) -> dict[str, Any]:
    """Collect what holds for every notebook of one run of the suite.

    Args:
        root: The root of the checkout.
        device: The device that was asked for; `auto` is told as `cpu` where there is no GPU.

    Returns:
        `commit`, `dirty`, `code`, `device`, `machine`, `versions`.
    """
    seen = machine()
    return {
        **commit(root),
        "code": code_version(),
        "device": "cpu" if device == "auto" and not seen["gpus"] else device,
        "machine": seen,
        "versions": versions(),
    }


def past_seconds(results: Path) -> dict[str, float]:
    """Read how long each notebook took when it last finished here.

    Args:
        results: The folder of one profile.

    Returns:
        Seconds by name; empty without a provenance.

    Example:
        >>> past_seconds(Path("no/such/folder"))
        {}
    """
    try:
        entries = json.loads((results / PROVENANCE).read_text(encoding="utf-8"))["notebooks"].items()
        return {name: float(entry["seconds"]) for name, entry in entries if entry["status"] == "finished"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def update(results: Path, profile: str, run: Mapping[str, Any], notebooks: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write `provenance.json`: the entries of the notebooks just run replace theirs, the others stay.

    Args:
        results: The folder of one profile.
        profile: Its name.
        run: What `describe_run` gave.
        notebooks: For each notebook just run, what is its own: status, seconds, parameters, data checksums.

    Returns:
        The file written.
    """
    path = results / PROVENANCE
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))["notebooks"]
    except (OSError, ValueError, KeyError, TypeError):
        kept = {}
    written = datetime.now(UTC).isoformat(timespec="seconds")
    for name, entry in notebooks.items():
        kept[name] = {"written": written, **entry, **run}
    return write_json_atomic(path, {"profile": profile, "notebooks": dict(sorted(kept.items()))})
