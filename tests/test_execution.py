"""Tests of execution.py and runner.py: how a notebook can end, and what lies in its folder afterwards."""

from __future__ import annotations

import io
import json
import os
import signal
import time
from contextlib import closing
from pathlib import Path

import pytest

from mixup_theory.execution import Job, ending, run_notebook
from mixup_theory.parameters import read_notebook
from mixup_theory.progress import Board
from mixup_theory.provenance import code_version
from mixup_theory.results import EXECUTED, MARKER, fingerprint, is_done, is_finished
from mixup_theory.runner import side_by_side, start, stop_signals

CLAIM = "from pathlib import Path\nPath(output_dir, 'claims.json').write_text('{}')\n"
ENDINGS = {
    "01-good": ["print('seed', seed)\nprint(rate)", CLAIM + "_ = Path(output_dir, 'a.png').write_bytes(b'1')"],
    "02-raises": [CLAIM + "1 / 0", "print('never')"],
    "03-exits": ["x = 1", "import os\nos._exit(3)", "print('never')"],
    "04-killed": [CLAIM + "print('before')", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"],
    "05-slow": [CLAIM + "import time\ntime.sleep(600)"],
    "06-orphan": ["import os\nos.kill(os.getppid(), 9)"],
    "07-environment": [
        "import os, sys, json\n"
        "names = ('JUPYTER_PATH', 'OMP_NUM_THREADS', 'EXTRA', 'MIXUP_PROGRESS_FILE', 'MPLBACKEND')\n"
        "seen = {name: os.environ.get(name) for name in names} | {'python': sys.executable, 'cwd': os.getcwd()}\n"
        "open(os.path.join(output_dir, 'seen.json'), 'w').write(json.dumps(seen))"
    ],
}


def job_for(path, output_dir, time_limit=120.0, **values):
    notebook = read_notebook(path)
    parameters = {"profile": "tiny", "output_dir": str(output_dir), "cache_dir": str(output_dir), **values}
    return Job(str(path), str(output_dir), "tiny", parameters, time_limit, fingerprint(notebook, parameters))


@pytest.fixture(scope="module")
def ended(tmp_path_factory, notebook_file):
    """All the endings, run at the same time, with a user's kernel called python3 that does not work in the way."""
    root = tmp_path_factory.mktemp("suite")
    bogus = root / "jupyter" / "kernels" / "python3"
    bogus.mkdir(parents=True)
    (bogus / "kernel.json").write_text('{"argv": ["/no/such/python"], "display_name": "x", "language": "python"}')
    jobs = {}
    for name, cells in ENDINGS.items():
        path = notebook_file(root / "notebooks" / f"{name}.ipynb", cells)
        jobs[name] = job_for(path, root / "out" / name, 12.0 if name == "05-slow" else 120.0, seed=7)
        stale = root / "out" / name / "stale.png"
        stale.parent.mkdir(parents=True)
        stale.write_text("of an earlier run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(root / "jupyter"))
        patch.setenv("MPLBACKEND", "agg")
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            patch.delenv(name, raising=False)
        board = io.StringIO()
        with closing(side_by_side(jobs, len(jobs), 3, {"EXTRA": "yes"}, Board(board))) as events:
            outcomes = dict(events)
    assert board.getvalue().count("started") == len(jobs)
    return outcomes, root, jobs


def cells_of(root, name):
    return json.loads((root / "out" / name / EXECUTED).read_text())["cells"]


def errors_of(cells):
    return [out for cell in cells for out in cell.get("outputs", []) if out["output_type"] == "error"]


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("01-good", "finished", ""),
        ("02-raises", "failed", "ZeroDivisionError: division by zero, in cell 4 of 5"),
        ("03-exits", "killed", "the kernel ended with exit code 3, in cell 5 of 6"),
        ("04-killed", "killed", "the kernel ended with signal 9 (SIGKILL), in cell 5 of 5"),
        ("05-slow", "timeout", "over its time limit of 12 s, in cell 4 of 4"),
        ("06-orphan", "killed", "the notebook's runner ended with signal 9 (SIGKILL)"),
        ("07-environment", "finished", ""),
    ],
)
def test_endings_are_told_apart(ended, name, status, message):
    outcome = ended[0][name]
    assert (outcome.status, outcome.message) == (status, message)
    assert outcome.seconds > 0


def test_good_notebook_has_outputs_parameters_and_marker(ended):
    outcomes, root, jobs = ended
    cells = cells_of(root, "01-good")
    assert not errors_of(cells)
    assert [out["text"] for cell in cells for out in cell.get("outputs", [])] == [["seed 7\n", "0.5\n"]]
    assert [cell["id"] for cell in cells] == ["cell-0", "cell-1", "injected-parameters", "cell-2", "cell-3"]
    folder = root / "out" / "01-good"
    assert sorted(path.name for path in folder.iterdir()) == ["a.png", "claims.json", MARKER, EXECUTED]
    assert is_done(folder, jobs["01-good"].key)
    assert is_finished(folder)
    assert 0 < outcomes["01-good"].cell_seconds < outcomes["01-good"].seconds


def test_executed_copy_names_neither_source_nor_output_file(ended):
    told = json.loads((ended[1] / "out" / "01-good" / EXECUTED).read_text())["metadata"]["papermill"]
    assert sorted(told) == ["duration", "end_time", "exception", "parameters", "start_time", "version"]
    assert told["exception"] is False


@pytest.mark.parametrize("name", ["02-raises", "03-exits", "04-killed", "05-slow"])
def test_bad_ending_is_in_the_executed_copy_and_does_not_count(ended, name):
    _, root, jobs = ended
    folder = root / "out" / name
    assert not (folder / "stale.png").exists()
    assert not (folder / MARKER).exists()
    assert not is_done(folder, jobs[name].key)
    assert not is_finished(folder)
    notebook = json.loads((folder / EXECUTED).read_text())
    assert len(errors_of(notebook["cells"])) == 1
    assert notebook["metadata"]["papermill"]["exception"] is True
    assert "never" not in json.dumps([cell.get("outputs") for cell in notebook["cells"]])


def test_traceback_and_earlier_output_are_kept(ended):
    assert "ZeroDivisionError" in "".join(errors_of(cells_of(ended[1], "02-raises"))[0]["traceback"])
    killed = cells_of(ended[1], "04-killed")
    assert "before" in json.dumps(killed[-2]["outputs"])
    assert "did not finish (killed)" in "".join(killed[0]["source"])


def test_notebook_runs_in_this_environment_beside_its_file(ended):
    import sys

    seen = json.loads((ended[1] / "out" / "07-environment" / "seen.json").read_text())
    assert seen["python"] == sys.executable
    assert seen["cwd"] == str(ended[1] / "notebooks")
    assert (seen["JUPYTER_PATH"], seen["OMP_NUM_THREADS"], seen["EXTRA"]) == (None, "3", "yes")
    assert seen["MPLBACKEND"] != "agg"  # figures belong in the notebook
    assert seen["MIXUP_PROGRESS_FILE"]


def test_marker_is_trusted_only_while_nothing_changed(ended, tmp_path):
    _, root, jobs = ended
    folder, key = root / "out" / "01-good", jobs["01-good"].key
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert is_done(tmp_path, key)
    assert not is_done(tmp_path, "0" * 64)
    (tmp_path / "a.png").write_bytes(b"2")
    assert not is_done(tmp_path, key)
    (tmp_path / "a.png").unlink()
    assert not is_done(tmp_path, key)
    (tmp_path / MARKER).write_text("{")
    assert not is_done(tmp_path, key)


def test_fingerprint_follows_source_parameters_and_code_but_not_places(tmp_path, notebook_file, monkeypatch):
    notebook = read_notebook(notebook_file(tmp_path / "01-a.ipynb", ["1"]))
    other = read_notebook(notebook_file(tmp_path / "b" / "01-a.ipynb", ["2"]))
    base = fingerprint(notebook, {"seed": 1, "output_dir": "here"})
    assert base == fingerprint(notebook, {"output_dir": "there", "seed": 1})
    assert base != fingerprint(notebook, {"seed": 2, "output_dir": "here"})
    assert base != fingerprint(other, {"seed": 1, "output_dir": "here"})
    monkeypatch.setattr("mixup_theory.results.code_version", lambda: "other code")
    assert base != fingerprint(notebook, {"seed": 1, "output_dir": "here"})


def test_code_version_sees_every_module(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.py").write_text("1")
    before = code_version(tmp_path)
    (tmp_path / "sub" / "a.py").write_text("2")
    assert code_version(tmp_path) != before


def gone(pid, seconds=20.0):
    """Wait until a process is gone, or only its entry is left for its parent to read."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.1)
    return False


def test_stop_kills_the_kernel_and_what_it_started(tmp_path, notebook_file):
    body = (
        "import os, subprocess, time\nfrom mixup_theory.progress import report_progress\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        "report_progress(3, 8, 65.0)\n"
        "open(output_dir + '/pids', 'w').write(f'{os.getpid()} {child.pid}')\ntime.sleep(600)"
    )
    job = job_for(notebook_file(tmp_path / "01-a.ipynb", [body]), tmp_path / "out")
    run = start(job, 1)
    try:
        for _ in range(600):
            if (tmp_path / "out" / "pids").exists() and (tmp_path / "out" / "pids").read_text().count(" ") == 1:
                break
            assert run.poll() is None
            time.sleep(0.1)
        said = run.describe()
        pids = [int(pid) for pid in (tmp_path / "out" / "pids").read_text().split()]
    finally:
        run.stop()
    assert said.startswith("cell 4/4, 3/8 runs, 1 min 05 s left, ")
    assert all(gone(pid) for pid in [*pids, run.process.pid])
    assert not run.folder.exists()
    assert not (tmp_path / "out" / MARKER).exists()


@pytest.mark.parametrize(("failures", "status"), [(1, "finished"), (2, "failed")])
def test_kernel_that_does_not_start_is_tried_once_more(tmp_path, notebook_file, monkeypatch, failures, status):
    calls = []

    def execute(job, draft, kernels, note_cell):
        calls.append(job)
        if len(calls) <= failures:
            return "failed", "RuntimeError: Kernel died before replying"
        draft.write_text(Path(job.notebook).read_text())
        note_cell(cell_index=0)
        return "finished", ""

    monkeypatch.setattr("mixup_theory.execution._execute", execute)
    outcome = run_notebook(job_for(notebook_file(tmp_path / "01-a.ipynb", ["1"]), tmp_path / "out"), tmp_path)
    assert (outcome.status, len(calls)) == (status, 2)
    assert is_finished(tmp_path / "out") == (status == "finished")
    if status == "failed":
        assert outcome.message.endswith("Kernel died before replying, before the first cell")
        assert len(errors_of(json.loads((tmp_path / "out" / EXECUTED).read_text())["cells"])) == 1


def test_two_runs_into_one_folder_do_not_mix(tmp_path, notebook_file):
    body = "import os, time\nwhile not os.path.exists(output_dir + '/go'):\n    time.sleep(0.05)"
    job = job_for(notebook_file(tmp_path / "01-a.ipynb", [body]), tmp_path / "out")
    runs, outcomes = [start(job, 1), start(job, 1)], []
    while len(outcomes) < 2:
        ended = [run for run in runs if (outcome := run.poll()) and not outcomes.append(outcome)]
        runs = [run for run in runs if run not in ended]
        if ended:
            (tmp_path / "out" / "go").touch()
        time.sleep(0.05)
    assert [outcome.status for outcome in outcomes] == ["failed", "finished"]
    assert "another run of this notebook is writing into" in outcomes[0].message
    assert is_done(tmp_path / "out", job.key)


def test_runner_that_cannot_write_says_so(tmp_path, notebook_file):
    (tmp_path / "out").write_text("a file in the way")
    run = start(job_for(notebook_file(tmp_path / "01-a.ipynb", ["1"]), tmp_path / "out"), 1)
    while (outcome := run.poll()) is None:
        time.sleep(0.05)
    assert outcome.status == "failed"
    assert "File exists" in outcome.message


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_stop_signal_interrupts_and_the_next_ones_wait(number):
    before = signal.getsignal(number)
    with stop_signals() as received:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
    assert received == [number]
    assert signal.getsignal(number) is before


def test_ending():
    assert ending(-signal.SIGTERM) == "signal 15 (SIGTERM)"
    assert ending(2) == "exit code 2"
    assert ending(None) == "an unknown code"
