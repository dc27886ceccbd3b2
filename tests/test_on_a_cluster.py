"""README.md, On a cluster: its commands, with a scheduler and two workers as processes of their own, TLS or not."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import reproduce
from mixup_theory.experiments.cluster import ClusterError, connect

pytestmark = pytest.mark.timeout(300)
ROOT = Path(reproduce.__file__).parent
SECTION = (ROOT / "README.md").read_text(encoding="utf-8").partition("<!-- cluster: begin -->")[2]
SECTION = SECTION.partition("<!-- cluster: end -->")[0]


def commands():
    """The indented blocks of the section, each as one text."""
    blocks = re.findall(r"(?:^ {4}.*\n)+", SECTION, re.MULTILINE)
    return [re.sub(r"^ {4}", "", block, flags=re.MULTILINE).rstrip("\n") for block in blocks]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


NO_OPENSSL = pytest.mark.skipif(shutil.which("openssl") is None, reason="the certificate is made by openssl")


@pytest.mark.parametrize("protocol", [pytest.param("tls", marks=NO_OPENSSL), "tcp"])
def test_the_commands_of_the_readme_run_the_suite(tmp_path, protocol):
    certificates, start, run = commands()
    setting, scheduler, worker = start.splitlines()
    port = free_port()

    def here(command):
        command = command.replace("HOST", "127.0.0.1").replace("8786", str(port))
        return command if protocol == "tls" else command.replace("tls", "tcp")

    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    shell = {"cwd": tmp_path, "env": environment, "text": True, "executable": "/bin/bash", "shell": True}
    prefix = ""
    if protocol == "tls":
        subprocess.run(certificates, check=True, capture_output=True, **shell)
        prefix = f"{setting}\n"
    processes, log = [], open(tmp_path / "log", "w")
    try:
        for command in (scheduler, worker, worker):
            text = f"{prefix}exec {here(command)}"
            processes.append(subprocess.Popen(text, stdout=log, stderr=log, start_new_session=True, **shell))
        deadline = time.monotonic() + 120
        while (tmp_path / "log").read_text().count("Registered to:") < 2 and time.monotonic() < deadline:
            assert all(process.poll() is None for process in processes), (tmp_path / "log").read_text()
            time.sleep(0.2)
        if protocol == "tls":  # without the certificate nobody gets in
            with pytest.raises(ClusterError):
                connect(f"tls://127.0.0.1:{port}", timeout=1)
            with pytest.raises(ClusterError):
                connect(f"tcp://127.0.0.1:{port}", timeout=1)
        command = here(run).replace("reproduce.py", f"{ROOT}/reproduce.py --profile tiny --output {tmp_path}/results")
        done = subprocess.run(f"{prefix}{command}", capture_output=True, **shell)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"{protocol}://127.0.0.1:{port}: 2 workers" in done.stdout
        assert "1 notebook: 1 finished" in done.stdout
        assert list((tmp_path / "results").rglob("runs.parquet")) or list(
            (tmp_path / "results").rglob("cache/*/*.json")
        )
    finally:
        for process in processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.close()
