"""Run one notebook, as a process of its own, and tell apart how it ended.

`python -m mixup_theory.execution FOLDER` reads the job as one line of JSON from its standard input, which then stays
open as a lifeline: when it closes, because the suite was stopped or killed, the process kills the kernel with all its
children and exits. `mixup_theory.runner` is the other end.

A papermill output says `completed` for every cell of a notebook whose kernel was killed, so nothing here is decided by
it: `done.json`, written after everything else and naming the checksum of every result, is the only sign of success.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mixup_theory._files import write_json_atomic, write_text_atomic
from mixup_theory.parameters import Notebook
from mixup_theory.progress import duration
from mixup_theory.provenance import code_version

__all__ = ["EXECUTED", "MARKER", "Job", "Outcome", "ending", "fingerprint", "is_done", "is_finished", "run_notebook"]

EXECUTED = "executed.ipynb"
MARKER = "done.json"
CLEARED = ("*.ipynb", "*.json", "*.parquet", "*.png")
"""What a run removes from its output folder first: a failed run leaves nothing of the run before it."""

PLACES = ("output_dir", "cache_dir", "data_dir", "scheduler")
"""Parameters that say where, not what: the same results at another place are the same results."""


@dataclass(frozen=True)
class Job:
    """One notebook to run: absolute paths, parameters checked already, seconds it may take."""

    notebook: str
    output_dir: str
    profile: str
    parameters: dict[str, Any]
    time_limit: float
    key: str


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    `status` is `finished`, `failed` (a Python exception), `killed` (the kernel or its runner died) or `timeout`;
    `seconds` is the whole run, `cell_seconds` the part of it spent in the notebook's cells, `data` the checksums of the
    data sets it loaded.
    """

    status: str
    message: str = ""
    seconds: float = 0.0
    cell_seconds: float = 0.0
    data: dict[str, str] = field(default_factory=dict)


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
        return marker["key"] == key and marker["files"] == _checksums(output_dir)
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


def _checksums(folder: Path) -> dict[str, str]:
    files = sorted({path for pattern in CLEARED for path in folder.glob(pattern)} - {folder / MARKER})
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


class _Kernels:
    """The kernel that papermill starts, so that it can be killed with all its children."""

    def __init__(self) -> None:
        self.process: Any = None

    def manager_class(self) -> type:
        """Give the kernel manager for papermill to use: papermill's default, encrypted, and known to this object."""
        from jupyter_client.manager import AsyncKernelManager

        outer = self

        class Manager(AsyncKernelManager):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, transport_encryption="auto", **kwargs)

            async def _async_post_start_kernel(self, **kwargs: Any) -> None:
                outer.process = getattr(self.provisioner, "process", None)
                await super()._async_post_start_kernel(**kwargs)

        return Manager

    def kill(self) -> None:
        """Kill the kernel's process group; it leads one of its own."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if os.getpgid(self.process.pid) == self.process.pid:
                    os.killpg(self.process.pid, signal.SIGKILL)


def run_notebook(job: Job, folder: Path, kernels: _Kernels | None = None) -> Outcome:
    """Run a notebook to its end and write its results.

    `executed.ipynb` is written however the run ends, with the error in the cell where it happened. Only a run that
    finished gets its marker, last of all.

    Args:
        job: What to run.
        folder: For the files of the run itself.
        kernels: Where the kernel is to be known, for whoever may have to kill it.

    Returns:
        How it ended; `seconds` and `data` are left to the caller.
    """
    # Two of the three seconds that papermill takes to import go into a grammar for a format that notebooks do not use;
    # jsonschema does without it where it is missing.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    import papermill
    from nbclient.exceptions import DeadKernelError

    kernels = kernels or _Kernels()
    output_dir, draft = Path(job.output_dir), folder / "draft.ipynb"
    output_dir.mkdir(parents=True, exist_ok=True)
    for stale in [output_dir / MARKER, *(path for pattern in CLEARED for path in output_dir.glob(pattern))]:
        stale.unlink(missing_ok=True)
    at, late = [0], threading.Event()
    total = len(json.loads(Path(job.notebook).read_text(encoding="utf-8"))["cells"]) + 1  # and the injected one

    def note_cell(cell_index: int, **_: Any) -> None:
        at[0] = cell_index
        (folder / "runs").unlink(missing_ok=True)  # the runs of an earlier cell
        with contextlib.suppress(OSError):
            write_json_atomic(folder / "cells", {"done": cell_index + 1, "total": total})

    def give_up() -> None:
        late.set()
        kernels.kill()

    timer = threading.Timer(job.time_limit, give_up)
    timer.daemon = True
    timer.start()
    try:
        papermill.execute_notebook(
            job.notebook,
            str(draft),
            parameters=job.parameters,
            kernel_name="python3",
            language="python",
            cwd=str(Path(job.notebook).parent),
            kernel_manager_class=kernels.manager_class(),
            on_cell_start=note_cell,
            coalesce_streams=True,
            progress_bar=False,
            start_timeout=300,
        )
        status, message = "finished", ""
    except papermill.PapermillExecutionError as error:
        status, message = "failed", f"{error.ename}: {error.evalue}".splitlines()[0]
    except Exception as error:
        if late.is_set():
            status, message = "timeout", f"over its time limit of {duration(job.time_limit)}"
        elif isinstance(error, DeadKernelError):
            code = kernels.process.poll() if kernels.process else None
            status, message = "killed", f"the kernel ended with {ending(code)}"
        else:
            status, message = "failed", f"{type(error).__name__}: {error}".splitlines()[0]
    finally:
        timer.cancel()
    if status != "finished":
        message += f", in cell {at[0] + 1} of {total}"
    notebook = _settled(draft, job.notebook, status, message, at[0])
    cell_seconds = sum(cell["metadata"].get("papermill", {}).get("duration") or 0.0 for cell in notebook["cells"])
    write_text_atomic(output_dir / EXECUTED, json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
    if status == "finished":
        about = {"key": job.key, "profile": job.profile, "cell_seconds": round(cell_seconds, 3)}
        write_json_atomic(output_dir / MARKER, {**about, "files": _checksums(output_dir)})
    return Outcome(status, message, 0.0, round(cell_seconds, 1))


def _settled(draft: Path, source: str, status: str, message: str, at: int) -> dict[str, Any]:
    """Read papermill's output and make it true and the same everywhere: no paths of this machine, no false `completed`.

    Returns:
        The executed notebook.
    """
    notebook: dict[str, Any] = json.loads((draft if draft.exists() else Path(source)).read_text(encoding="utf-8"))
    told = notebook["metadata"].get("papermill", {})
    notebook["metadata"]["papermill"] = {
        key: told[key] for key in ("start_time", "end_time", "duration", "parameters", "version") if key in told
    } | {"exception": status != "finished"}
    for cell in notebook["cells"]:
        if "injected-parameters" in cell["metadata"].get("tags", []):
            cell["id"] = "injected-parameters"  # papermill draws a new one at every run
    errors = [out for cell in notebook["cells"] for out in cell.get("outputs", []) if out["output_type"] == "error"]
    if status != "finished" and not errors:
        cell = notebook["cells"][min(at, len(notebook["cells"]) - 1)]
        cell["metadata"].setdefault("papermill", {}).update(status="failed", exception=True)
        if cell["cell_type"] == "code":
            error = {"output_type": "error", "ename": status, "evalue": message, "traceback": [f"{status}: {message}"]}
            cell["outputs"].append(error)
        text = f"**This run did not finish ({status}): {message}.**"
        notebook["cells"].insert(0, {"cell_type": "markdown", "id": "unfinished", "metadata": {}, "source": [text]})
    return notebook


def ending(code: int | None) -> str:
    """Say how a process ended.

    Args:
        code: Its return code, as `subprocess` gives it.

    Returns:
        For example "signal 9 (SIGKILL)".
    """
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"signal {-code} ({signal.Signals(-code).name})"
    return "an unknown code" if code is None else f"exit code {code}"


def main(folder: Path) -> None:
    """Read the job from standard input, run it, and leave the outcome in the folder."""
    job = Job(**json.loads(sys.stdin.buffer.readline()))
    kernels = _Kernels()

    def watch_lifeline() -> None:
        sys.stdin.buffer.read()  # returns when the suite closes the pipe or dies
        kernels.kill()
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=watch_lifeline, daemon=True).start()
    try:
        outcome = run_notebook(job, folder, kernels)
    except OSError as error:  # a full disk, a folder taken away: the text says which
        outcome = Outcome("failed", str(error).splitlines()[0])
    write_json_atomic(folder / "outcome.json", asdict(outcome))
    os._exit(0)  # no waiting for threads of a kernel that is gone


if __name__ == "__main__":
    main(Path(sys.argv[1]))
