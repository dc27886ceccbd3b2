"""Start notebooks in processes of their own, follow them, and stop them so that nothing of them stays behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from mixup_theory.execution import Job, Outcome, ending
from mixup_theory.progress import DATASETS_VARIABLE, PROGRESS_VARIABLE, Board, duration, read_datasets, read_progress
from mixup_theory.provenance import cores, gpus

__all__ = ["Run", "at_once", "side_by_side", "start", "stop_signals", "variables"]


@dataclass
class Run:
    """A notebook under way, as the suite sees it."""

    job: Job
    process: subprocess.Popen[bytes]
    folder: Path
    started: float

    def poll(self) -> Outcome | None:
        """Look whether the run has ended.

        Returns:
            How it ended, or None while it runs.
        """
        seconds = round(time.monotonic() - self.started, 1)
        code = self.process.poll()
        if code is None:
            if seconds < self.job.time_limit + 60:  # its own watch comes first; this one is for a runner that hangs
                return None
            self.stop()
            return Outcome("timeout", f"no answer {duration(seconds)} after the start", seconds)
        try:
            outcome = Outcome(**json.loads((self.folder / "outcome.json").read_text()))
        except (OSError, ValueError, TypeError):
            outcome = Outcome("killed", f"the notebook's runner ended with {ending(code)}{self._last_words()}", seconds)
        outcome = replace(outcome, seconds=seconds, data=read_datasets(self.folder / "datasets"))
        self._clean()
        return outcome

    def _last_words(self) -> str:
        lines = (self.folder / "log").read_text(errors="replace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""

    def describe(self) -> str:
        """Say how far the run is.

        Returns:
            For example "cell 9/21, 12/40 runs, 1 min 05 s left".
        """
        elapsed = duration(time.monotonic() - self.started)
        cells, runs = read_progress(self.folder / "cells"), read_progress(self.folder / "runs")
        parts = [f"cell {cells.done}/{cells.total}" if cells else "starting"]
        if runs:
            parts.append(f"{runs.done}/{runs.total} runs")
            parts += [f"{duration(runs.seconds_left)} left"] if runs.seconds_left is not None else []
        return ", ".join([*parts, f"{elapsed} so far"])

    def stop(self) -> None:
        """End the run: close the lifeline, and kill what does not obey within five seconds."""
        if self.process.stdin:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._clean()

    def _clean(self) -> None:
        if self.process.stdin:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def start(job: Job, threads: int, environment: Mapping[str, str] | None = None) -> Run:
    """Start a notebook in a process of its own.

    Args:
        job: What to run.
        threads: Threads that the numerical libraries may use in it.
        environment: Variables that the notebook sees beside the present ones.

    Returns:
        The handle to the run.
    """
    folder = Path(tempfile.mkdtemp(prefix="mixup-"))
    root = str(Path(__file__).parents[1])
    env = {key: value for key, value in os.environ.items() if key not in ("JUPYTER_PATH", "MPLBACKEND")}
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        env.setdefault(name, str(threads))
    env |= {
        "JUPYTER_PREFER_ENV_PATH": "1",  # this environment's python3, whatever kernels the user has registered
        "JUPYTER_RUNTIME_DIR": str(folder / "jupyter"),
        "IPYTHONDIR": str(folder / "ipython"),  # no start-up files of the user's
        "PYTHONPATH": os.pathsep.join(filter(None, [root, env.get("PYTHONPATH")])),
        PROGRESS_VARIABLE: str(folder / "runs"),
        DATASETS_VARIABLE: str(folder / "datasets"),
        **(environment or {}),
    }
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mixup_theory.execution", str(folder)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=env,
            cwd=root,
            start_new_session=True,  # Ctrl-C reaches the suite alone, which then stops its runs in order
        )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it died at once; poll tells
        process.stdin.write(json.dumps(asdict(job)).encode() + b"\n")
        process.stdin.flush()
    return Run(job, process, folder, time.monotonic())


def side_by_side(
    jobs: Mapping[str, Job], width: int, threads: int, environment: Mapping[str, str], board: Board
) -> Generator[tuple[str, Outcome], None, None]:
    """Run jobs, some at the same time, and show on the board how far they are.

    Args:
        jobs: The jobs by name, in the order to start them.
        width: How many run at the same time.
        threads: Threads that each may use.
        environment: Variables that the notebooks see beside the present ones.
        board: Where to show them.

    Yields:
        The name and the outcome of each as it ends. Closing the iterator stops those that run.
    """
    waiting = list(jobs)
    running: dict[str, Run] = {}
    try:
        while waiting or running:
            while waiting and len(running) < width:
                name = waiting.pop(0)
                running[name] = start(jobs[name], threads, environment)
                if not board.stream.isatty():
                    board.say(f"{name}  started")
            ended = {name: outcome for name, run in running.items() if (outcome := run.poll())}
            for name in ended:
                del running[name]
            yield from ended.items()
            board.show({name: run.describe() for name, run in running.items()})
            time.sleep(0.05)
    finally:
        for run in running.values():
            run.stop()


def at_once(jobs: int | None, device: str) -> tuple[int, int]:
    """Choose how many notebooks run at the same time, and how many threads each may use.

    Measured at scale standard on two cores: two at a time, the longest first, each training on one core, leave
    0.4 % of the cores unused. A cluster shared by the notebooks has no more than that to win, and takes time to start.

    Args:
        jobs: Notebooks at the same time, if the user has said so.
        device: `auto`, `cpu` or `cuda`.

    Returns:
        Both numbers.
    """
    on_gpu = device == "cuda" or (device == "auto" and bool(gpus()))
    width = jobs or (1 if on_gpu else min(4, cores()))
    return width, max(1, cores() // width)


def variables(device: str, data: Path | None, scheduler: str, fresh: bool) -> dict[str, str]:
    """Say through the environment what a notebook may have no parameter for.

    Args:
        device: `auto`, `cpu` or `cuda`.
        data: Folder with the data files, or None.
        scheduler: Address of a Dask cluster, or nothing.
        fresh: Whether what is cached is to be computed again.

    Returns:
        The variables by name.
    """
    env = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    if data:
        env["MIXUP_DATA"] = str(data.absolute())
    if scheduler:
        env["MIXUP_SCHEDULER"] = scheduler
    if fresh:
        env["MIXUP_FRESH_SINCE"] = repr(time.time())  # a cached run that is older is computed again
    return env


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Turn the first Ctrl-C or SIGTERM into a KeyboardInterrupt and ignore those that follow, for the clearing up.

    Yields:
        The list of signals received: empty or one number.
    """
    received: list[int] = []
    watched = (signal.SIGINT, signal.SIGTERM)

    def stop(number: int, _: Any) -> NoReturn:
        received.append(number)
        for other in watched:
            signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt

    handlers = [(number, signal.signal(number, stop)) for number in watched]
    try:
        yield received
    finally:
        for number, handler in handlers:
            signal.signal(number, handler)
