"""Workers as SLURM jobs: `python -m mixup_theory.experiments.slurm --workers 32` on a login node, then `--scheduler`.

A scheduler runs where this is started, and dask-jobqueue (extra `slurm`) submits a job for every worker; a job that the
queue ends early is submitted again. All speak TLS with the certificates of Dask's configuration, since whoever reaches
a Dask scheduler can run programs as its user.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import dask
from distributed import Security

from .._checks import check_integer
from ..runner import stop_signals

__all__ = ["slurm_cluster"]


def slurm_cluster(
    workers: int,
    *,
    memory: str = "4GB",
    walltime: str = "04:00:00",
    queue: str | None = None,
    account: str | None = None,
    interface: str | None = None,
    host: str | None = None,
    gpus: bool = False,
    encrypted: bool = True,
    directives: Sequence[str] = (),
) -> Any:
    """Start a scheduler here and submit jobs, one single-threaded worker each.

    Args:
        workers: Number of jobs, >= 1.
        memory: Of one job.
        walltime: Of one job, as SLURM writes it.
        queue: Partition.
        account: Whom to charge.
        interface: Network interface that workers and scheduler share, such as `ib0`.
        host: Address for the scheduler to listen at, instead of the interface's.
        gpus: Give each job one GPU, and its worker the resource GPU=1.
        encrypted: Use TLS; False lets everybody who reaches the port run programs as you.
        directives: More `#SBATCH` options.

    Returns:
        A `dask_jobqueue.SLURMCluster`, for a `with` block: `sweep(configs, scheduler=cluster.scheduler_address)`. Its
        `job_script()` is what is submitted.

    Raises:
        ValueError: If `workers` is no such number, or `encrypted` and Dask's configuration names no certificates.
        ImportError: If dask-jobqueue is not installed.
    """
    check_integer("workers", workers, 1)
    from dask_jobqueue import SLURMCluster

    security = None
    if encrypted:
        if not dask.config.get("distributed.comm.tls.ca-file"):
            raise ValueError(
                "`encrypted` must be False without certificates, got True. "
                "README.md, section On a cluster, says how to make them."
            )
        security = Security(require_encryption=True)
    cluster = SLURMCluster(
        cores=1,
        processes=1,
        memory=memory,
        walltime=walltime,
        queue=queue,
        account=account,
        interface=interface,
        python=sys.executable,
        protocol="tls://" if encrypted else "tcp://",
        security=security,
        job_extra_directives=[*directives, *(["--gres=gpu:1"] if gpus else [])],
        # no limit of Dask's own: it would write results to the disk first, and SLURM watches the job anyway
        worker_extra_args=["--no-dashboard", "--memory-limit", "0", *(["--resources", "GPU=1"] if gpus else [])],
        scheduler_options={
            "dashboard": False,
            "dashboard_address": "127.0.0.1:0",
            "allowed_failures": 10,  # the queue ends workers too, and not for what they train
            **({"host": host} if host else {}),
        },
    )
    cluster.adapt(minimum_jobs=workers, maximum_jobs=workers)  # an ended job is replaced
    return cluster


def main(argv: Sequence[str] | None = None) -> int:
    """Start the cluster, print its address, and stay until Ctrl-C or SIGTERM.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser("slurm", description="Start workers as SLURM jobs.")
    add = parser.add_argument
    add("--workers", type=int, required=True, help="number of jobs")
    add("--memory", default="4GB", help="of one job")
    add("--walltime", default="04:00:00", help="of one job")
    add("--queue", help="partition")
    add("--account", help="whom to charge")
    add("--interface", help="network interface, such as ib0")
    add("--host", help="address to listen at")
    add("--gpus", action="store_true", help="one GPU for each job")
    add("--unencrypted", dest="encrypted", action="store_false", help="without TLS")
    options = vars(parser.parse_args(argv))
    try:
        with stop_signals(), suppress(KeyboardInterrupt), slurm_cluster(options.pop("workers"), **options) as cluster:
            print(cluster.scheduler_address, flush=True)
            threading.Event().wait()
    except (ValueError, ImportError) as error:
        print(f"slurm: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
