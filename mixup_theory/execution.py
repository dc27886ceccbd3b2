"""Run one notebook, as a process of its own, and tell apart how it ended.

`python -m mixup_theory.execution FOLDER` reads the job as one line of JSON from its standard input, which then stays
open as a lifeline: when it closes, because the suite was stopped or killed, the process kills the kernel with all its
children and exits. `mixup_theory.runner` is the other end.

A papermill output says `completed` for every cell of a notebook whose kernel was killed, so nothing here is decided by
it: `done.json`, written after everything else and naming the checksum of every result, is the only sign of success.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mixup_theory._files import write_json_atomic, write_text_atomic
from mixup_theory.progress import duration
from mixup_theory.results import CLEARED, EXECUTED, MARKER, checksums

__all__ = ["Job", "Outcome", "ending", "run_notebook"]


NOT_STARTED = -1


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

    Raises:
        OSError: If the folder cannot be written, or another process is writing there.
    """
    Path(job.output_dir).mkdir(parents=True, exist_ok=True)
    with _alone_in(Path(job.output_dir)):
        return _run(job, folder, kernels or _Kernels())


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold a lock on the folder itself, which leaves no file and ends with the process, however it ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise OSError(f"another run of this notebook is writing into {folder}") from None
    finally:
        os.close(descriptor)


def _run(job: Job, folder: Path, kernels: _Kernels) -> Outcome:
    output_dir, draft = Path(job.output_dir), folder / "draft.ipynb"
    for stale in [output_dir / MARKER, *(path for pattern in CLEARED for path in output_dir.glob(pattern))]:
        stale.unlink(missing_ok=True)
    late, total = threading.Event(), len(_read(job.notebook)["cells"]) + 1  # and the injected one
    at = [NOT_STARTED]

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
    status, message = _execute(job, draft, kernels, note_cell)
    if at[0] == NOT_STARTED and status != "finished" and not late.is_set():
        # Kernels choose free ports and open them a moment later; another process may have been faster.
        status, message = _execute(job, draft, kernels, note_cell)
    timer.cancel()
    if late.is_set() and status != "finished":
        status, message = "timeout", f"over its time limit of {duration(job.time_limit)}"
    if status != "finished":
        message += ", before the first cell" if at[0] == NOT_STARTED else f", in cell {at[0] + 1} of {total}"
    notebook = _settled(_read(draft if draft.exists() else job.notebook), status, message, max(at[0], 0))
    cell_seconds = sum(cell["metadata"].get("papermill", {}).get("duration") or 0.0 for cell in notebook["cells"])
    write_text_atomic(output_dir / EXECUTED, json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
    if status == "finished":
        about = {"key": job.key, "profile": job.profile, "cell_seconds": round(cell_seconds, 3)}
        write_json_atomic(output_dir / MARKER, {**about, "files": checksums(output_dir)})
    return Outcome(status, message, 0.0, round(cell_seconds, 3))


def _execute(job: Job, draft: Path, kernels: _Kernels, note_cell: Callable[..., None]) -> tuple[str, str]:
    """Run papermill.

    Returns:
        Status and message.
    """
    # Two of the three seconds that papermill takes to import go into a grammar for a format that notebooks do not use;
    # jsonschema does without it where it is missing.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    import papermill
    from nbclient.exceptions import DeadKernelError

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
    except papermill.PapermillExecutionError as error:
        return "failed", f"{error.ename}: {error.evalue}".splitlines()[0]
    except DeadKernelError:
        return "killed", f"the kernel ended with {ending(kernels.process.poll() if kernels.process else None)}"
    except Exception as error:
        return "failed", f"{type(error).__name__}: {error}".splitlines()[0]
    return "finished", ""


def _read(path: Path | str) -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return notebook


def _settled(notebook: dict[str, Any], status: str, message: str, at: int) -> dict[str, Any]:
    """Make papermill's output true and the same everywhere: no paths of this machine, no false `completed`.

    Returns:
        The executed notebook.
    """
    told = notebook["metadata"].get("papermill", {})
    notebook["metadata"]["papermill"] = {
        key: told[key] for key in ("start_time", "end_time", "duration", "parameters", "version") if key in told
    } | {"exception": status != "finished"}
    for cell in notebook["cells"]:
        if "injected-parameters" in cell["metadata"].get("tags", []):
            cell["id"] = "injected-parameters"  # papermill draws a new one at every run
    errors = [out for cell in notebook["cells"] for out in cell.get("outputs", []) if out["output_type"] == "error"]
    if status != "finished" and not errors:
        later = [cell for cell in notebook["cells"][at:] if cell["cell_type"] == "code"]
        cell = (later or [cell for cell in notebook["cells"] if cell["cell_type"] == "code"])[0]
        cell["metadata"].setdefault("papermill", {}).update(status="failed", exception=True)
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
