"""One worker process of a local cluster: `python -m mixup_theory.experiments.worker`, started by `cluster`.

It reads one line of JSON from its standard input, which then stays open as a lifeline: when it closes, because the
process that asked is done or was killed, the worker ends at once, whatever it is at.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import sys
import threading
from typing import Any, NoReturn

__all__ = ["serve"]


def _watch_lifeline(folder: str) -> NoReturn:
    sys.stdin.buffer.read()  # returns when the other end is closed
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


async def serve(address: str, name: str, folder: str, resources: dict[str, float]) -> None:
    """Work for a scheduler on the loopback until it goes away.

    Args:
        address: Its address.
        name: The name that the scheduler knows this worker by.
        folder: For what Dask keeps on the disk; removed by whoever ends last.
        resources: What tasks may ask for, such as {"GPU": 1}.
    """
    from distributed import Security, Worker

    from . import dispatch, training  # noqa: F401 - a worker that says it is there can train at once

    worker: Any = Worker(
        address,
        name=name,
        nthreads=1,
        resources=resources,
        host="127.0.0.1",
        memory_limit=0,  # nothing is spilled to the disk, and nobody is killed for a share of the memory
        local_directory=folder,
        dashboard=False,
        security=Security(require_encryption=False),
    )
    await worker
    await worker.finished()


def main() -> NoReturn:
    """Read what to do and do it; Ctrl-C is for the process that asked."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("distributed").setLevel(logging.ERROR)
    job = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_watch_lifeline, args=(job["folder"],), daemon=True).start()
    asyncio.run(serve(**job))
    os._exit(0)  # no waiting for a group that nobody wants any more


if __name__ == "__main__":
    main()
