"""What a notebook tells the suite while it runs: how far its runs are, and which data sets it loaded.

The runner names a file in the environment variable `MIXUP_PROGRESS_FILE`. Whoever works through a list of runs calls
`report_progress` there; the file then holds `{"done": 12, "total": 40, "seconds_left": 31.5}`, with null for
`seconds_left` while nobody knows. It is replaced as a whole, so a reader never sees a part of it. In the same way
`report_dataset` adds a line of JSON to the file named by `MIXUP_DATASETS_FILE`. Without the variables nothing happens.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

__all__ = [
    "DATASETS_VARIABLE",
    "PROGRESS_VARIABLE",
    "Board",
    "Progress",
    "duration",
    "read_datasets",
    "read_progress",
    "report_dataset",
    "report_progress",
]

PROGRESS_VARIABLE = "MIXUP_PROGRESS_FILE"
DATASETS_VARIABLE = "MIXUP_DATASETS_FILE"


@dataclass(frozen=True)
class Progress:
    """Runs done, runs in all, and the seconds the rest should take (None: not known)."""

    done: int
    total: int
    seconds_left: float | None = None


def report_progress(done: int, total: int, seconds_left: float | None = None) -> None:
    """Say how far a list of runs is; a report that cannot be written is dropped, for the runs matter more.

    Args:
        done: Runs finished, those read from the cache included.
        total: Runs in all.
        seconds_left: Expected seconds for the rest, or None.
    """
    target = os.environ.get(PROGRESS_VARIABLE)
    if not target:
        return
    temporary = f"{target}.{os.getpid()}"
    with contextlib.suppress(OSError):
        Path(temporary).write_text(json.dumps({"done": done, "total": total, "seconds_left": seconds_left}))
        os.replace(temporary, target)


def read_progress(path: str | os.PathLike[str]) -> Progress | None:
    """Read what `report_progress` wrote last.

    Args:
        path: The file that `MIXUP_PROGRESS_FILE` named.

    Returns:
        The progress, or None while there is none.

    Example:
        >>> read_progress("no/such/file") is None
        True
    """
    try:
        return Progress(**json.loads(Path(path).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def report_dataset(name: str, checksum: str) -> None:
    """Say that a data set was loaded, for the provenance of the results.

    Args:
        name: Its name.
        checksum: The SHA-256 of its content.
    """
    target = os.environ.get(DATASETS_VARIABLE)
    if target:
        with contextlib.suppress(OSError), open(target, "a", encoding="utf-8") as stream:
            stream.write(json.dumps([name, checksum]) + "\n")


def read_datasets(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read what `report_dataset` added.

    Args:
        path: The file that `MIXUP_DATASETS_FILE` named.

    Returns:
        Checksums by name; empty if no data set was loaded.

    Example:
        >>> read_datasets("no/such/file")
        {}
    """
    try:
        return dict(sorted(json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()))
    except (OSError, ValueError, TypeError):
        return {}


def duration(seconds: float) -> str:
    """Write a number of seconds as people say it.

    Returns:
        For example "8 s", "3 min 05 s", "1 h 20 min".

    Example:
        >>> duration(185.2), duration(4800)
        ('3 min 05 s', '1 h 20 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


@dataclass
class Board:
    """The terminal while the suite runs: lines that stay, above one moving line per running notebook.

    On a stream that is no terminal only the lines that stay are printed.
    """

    stream: TextIO
    interval: float = 0.5
    _moving: int = field(default=0, init=False)
    _shown_at: float = field(default=float("-inf"), init=False)

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self._erase()
        print(text, file=self.stream, flush=True)

    def show(self, rows: Mapping[str, str] | Sequence[str]) -> None:
        """Redraw the moving lines, at most once per `interval` seconds; a mapping is drawn as two columns."""
        if not self.stream.isatty() or time.monotonic() - self._shown_at < self.interval:
            return
        if isinstance(rows, Mapping):
            width = max(map(len, rows), default=0)
            rows = [f"{name:<{width}}  {text}" for name, text in rows.items()]
        columns = shutil.get_terminal_size().columns - 1  # a wrapped line could not be erased
        self._erase()
        self.stream.write("".join(f"{row[:columns]}\n" for row in rows))
        self.stream.flush()
        self._moving, self._shown_at = len(rows), time.monotonic()

    def _erase(self) -> None:
        if self._moving:
            self.stream.write(f"\x1b[{self._moving}F\x1b[J")
            self._moving, self._shown_at = 0, float("-inf")
