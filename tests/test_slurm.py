"""Workers as SLURM jobs: the script that is submitted, and a whole sweep with a stand-in for sbatch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import reproduce
from mixup_theory.experiments import slurm
from mixup_theory.experiments.config import RunConfig, grid
from mixup_theory.experiments.slurm import slurm_cluster
from mixup_theory.experiments.sweep import sweep

pytestmark = pytest.mark.timeout(150)
ROOT = Path(reproduce.__file__).parent


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """A queue that starts every job at once, in a folder."""
    script = f'#!/bin/sh\ncp "$1" {tmp_path}/job-$$.sh\nsetsid sh {tmp_path}/job-$$.sh >/dev/null 2>&1 &\necho $!\n'
    (tmp_path / "sbatch").write_text(script)
    (tmp_path / "scancel").write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/cancelled\nkill -9 -- "-$1"\n')
    for name in ("sbatch", "scancel"):
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_certificates_are_asked_for(capsys):
    with pytest.raises(ValueError, match="`encrypted` must be False without certificates, got True"):
        slurm_cluster(1)
    assert slurm.main(["--workers", "1"]) == 2
    assert capsys.readouterr().err.startswith("slurm: `encrypted` must be False")


@pytest.mark.parametrize("workers", ["0", "-1"])
def test_no_workers_are_refused_in_one_line(workers, capsys):
    assert slurm.main(["--workers", workers, "--unencrypted"]) == 2
    assert capsys.readouterr().err == f"slurm: `workers` must be a whole number >= 1, got {workers}.\n"


def test_job_script(monkeypatch):
    from distributed import SpecCluster

    monkeypatch.setattr("dask_jobqueue.SLURMCluster.adapt", lambda *_, **__: None)
    with slurm_cluster(
        8,
        memory="6GB",
        walltime="02:00:00",
        queue="short",
        account="me",
        host="127.0.0.1",
        gpus=True,
        encrypted=False,
        directives=["--constraint=a100"],
    ) as cluster:
        assert isinstance(cluster, SpecCluster)
        lines = cluster.job_script().splitlines()
        address = cluster.scheduler_address
    assert lines[0] == "#!/usr/bin/env bash"
    wanted = ["-J dask-worker", "-p short", "-A me", "-n 1", "--cpus-per-task=1", "--mem=6G", "-t 02:00:00"]
    assert [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")] == [
        *wanted,
        "--constraint=a100",
        "--gres=gpu:1",
    ]
    assert lines[-1].startswith(
        f"{sys.executable} -m distributed.cli.dask_worker {address} --name dummy-name --nthreads 1 "
    )
    assert "--no-dashboard --memory-limit 0 --resources GPU=1" in lines[-1]


def test_a_sweep_through_the_queue(queue):
    command = [sys.executable, "-m", "mixup_theory.experiments.slurm", "--workers", "2", "--memory", "2GB"]
    process = subprocess.Popen(
        [*command, "--unencrypted", "--host", "127.0.0.1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        address = process.stdout.readline().strip()
        assert address.startswith("tcp://127.0.0.1:"), process.communicate(timeout=10)[1]
        runs = grid(RunConfig(num_train=64, batch_size=32, epochs=2, hidden=(8,)), seed=range(2))
        assert sweep(runs, queue / "cache", scheduler=address)["status"].tolist() == ["ok", "ok"]
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    deadline = time.monotonic() + 20
    while not (queue / "cancelled").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len((queue / "cancelled").read_text().split()) == 2
    assert len(list(queue.glob("job-*.sh"))) == 2
