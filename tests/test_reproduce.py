"""Tests of reproduce.py on a small suite of its own: what runs, what is kept, what is refused, what a kill leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import reproduce
from mixup_theory.experiments.cache import read_row, write_entry
from mixup_theory.results import EXECUTED, MARKER

ROOT = Path(reproduce.__file__).parent
CLAIM = """from mixup_theory.recorder import Recorder
from mixup_theory.rules import Ordering
record = Recorder(notebook="{name}", profile=profile, output_dir=output_dir)
record.claim("claim-of-{number}", statement="More is more.", source="nobody", rule=Ordering())
record.evidence("claim-of-{number}", "gain", [rate + 0.01 * i for i in range(8)])
record.decide("claim-of-{number}")
record.save()"""
MODE = """import os, time
from mixup_theory.progress import report_dataset
from pathlib import Path
Path(output_dir, "pid.txt").write_text(str(os.getpid()))
if mode == "raise":
    raise ValueError("as asked")
if mode == "wait":
    time.sleep(600)
report_dataset("digits", "0123")
print("fresh" if "MIXUP_FRESH_SINCE" in os.environ else "resumed", len(os.environ.get("MIXUP_DATA", "")))"""
PROFILES = """[quick]
description = "small"
time_limit = 100
[quick.91-first]
rate = 0.25
[quick.92-second-part]
[large]
description = "big"
time_limit = 100
[large.91-first]
[tiny]
description = "hidden"
time_limit = 100
"""
BOTH = ["91-first", "92-second-part"]


def make_suite(root, notebook_file):
    for name in BOTH:
        claim = CLAIM.format(name=name, number=name[:2])
        notebook_file(root / "notebooks" / f"{name}.ipynb", [claim, MODE])
    (root / "profiles.toml").write_text(PROFILES)
    return root


@pytest.fixture(autouse=True)
def unchanging_code(monkeypatch):
    """An edit of the package while the tests run would make notebooks run again."""
    monkeypatch.setattr("mixup_theory.results.code_version", lambda: "code")


@pytest.fixture(scope="module")
def suite(tmp_path_factory, notebook_file):
    """A suite of two notebooks; the tests of this file run it in their order."""
    return make_suite(tmp_path_factory.mktemp("suite"), notebook_file)


@pytest.fixture
def call(suite, capsys):
    """Run reproduce.py on the suite; give the exit status, what it printed, and the folder of the results."""

    def run(*argv):
        status = reproduce.main(argv, root=suite)
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def read(path):
    return json.loads(path.read_text())


def outputs(suite, name):
    cells = read(suite / "results" / "quick" / name / EXECUTED)["cells"]
    return json.dumps([cell.get("outputs") for cell in cells])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--profile", "huge"], "no profile `huge`; there are quick, large"),
        (["--only", "93"], "no notebook `93`; there are 91-first, 92-second-part"),
        (["--only", "third"], "no notebook `third`"),
        (["--profile", "large", "--only", "92"], "not at scale large: 92-second-part; at that scale: 91-first"),
        (["-p", "91.raet=1"], "91-first has no parameter `raet` (did you mean `rate`?); it has `seed`, `rate`"),
        (["-p", "91.rate=fast"], "`rate` must be float, got 'fast'"),
        (["-p", "rate=1"], "must be NOTEBOOK.NAME=VALUE"),
        (["--only", "91", "-p", "92.seed=1"], "92-second-part is not among the notebooks to run: 91-first"),
        (["--data", "no/such/folder"], "--data no/such/folder is not a folder"),
    ],
)
def test_what_is_not_known_is_refused_in_one_line(call, suite, argv, message):
    status, out, err = call(*argv)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not list(suite.glob("results/*/9*"))


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--jobs", "0"], "--jobs must be at least 1"),
        (["--jobs", "two"], "invalid int value: 'two'"),
        (["--device", "tpu"], "invalid choice: 'tpu'"),
        (["--quick"], "unrecognized arguments: --quick"),
    ],
)
def test_mistakes_in_options_are_one_line(suite, capsys, argv, message):
    with pytest.raises(SystemExit, match="2"):
        reproduce.main(argv, root=suite)
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_output_folder_that_cannot_be_written_is_one_line(call, suite):
    (suite / "in-the-way").write_text("a file")
    status, out, err = call("--output", str(suite / "in-the-way"))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert f"cannot write in {suite}/in-the-way/quick: Not a directory; choose a folder with --output" in err


def test_gpu_that_is_not_there_is_one_line(call, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    status, _, err = call("--device", "cuda")
    assert (status, err) == (2, "reproduce.py: --device cuda: PyTorch finds no GPU here; use --device cpu\n")


def test_profile_with_a_misspelt_parameter_runs_nothing(call, suite):
    (suite / "profiles.toml").write_text(PROFILES.replace("rate = ", "raet = "))
    status, _, err = call()
    (suite / "profiles.toml").write_text(PROFILES)
    assert (status, err.count("\n")) == (2, 1)
    assert "profiles.toml, quick: 91-first has no parameter `raet`" in err
    assert not list(suite.glob("results/*/9*"))


def test_list_names_notebooks_scales_and_parameters(call):
    status, out, _ = call("--list")
    assert status == 0
    assert "91-first        91 Title of 91-first  [quick large]" in out
    assert "92-second-part  92 Title of 92-second-part  [quick]" in out
    assert "--profile large      big" in out
    assert "tiny" not in out
    out = call("--list", "--only", "91")[1]
    assert "  rate: float = 0.25  # a number" in out
    assert "output_dir" not in out


def test_help_needs_nothing_installed_and_list_does_not_import_torch(suite):
    told = subprocess.run([sys.executable, "-S", ROOT / "reproduce.py", "--help"], capture_output=True, text=True)
    assert told.returncode == 0
    assert all(option in told.stdout for option in ("--profile", "--only", "--check", "--scheduler", "-p NOTEBOOK"))
    code = "import sys, pathlib, reproduce as r; r.main(['--list'], pathlib.Path(sys.argv[1])); "
    told = subprocess.run(
        [sys.executable, "-c", code + "print('torch' in sys.modules)", suite], capture_output=True, text=True, cwd=ROOT
    )
    assert told.stdout.splitlines()[-1] == "False"
    missing = subprocess.run([sys.executable, "-S", ROOT / "reproduce.py"], capture_output=True, text=True)
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)
    assert "`make reproduce` sets the environment up" in missing.stderr


def test_check_before_any_run_says_what_is_missing(call):
    status, out, _ = call("--check")
    assert status == 1
    assert "ledger.json, which is missing" in out
    assert f"91-first/{EXECUTED}: cannot be read (FileNotFoundError)" in out


def test_run_writes_results_ledger_and_provenance(call, suite):
    status, out, _ = call("--jobs", "2", "--device", "cpu", "--data", str(suite))
    results = suite / "results" / "quick"
    assert status == 0, out
    assert "91-first        finished in" in out
    assert "claim-of-91  supported" in out
    assert "2 notebooks: 2 finished" in out
    ledger = read(results / "ledger.json")
    assert ledger["profile"] == "quick"
    assert [claim["id"] for claim in ledger["claims"]] == ["claim-of-91", "claim-of-92"]
    told = read(results / "provenance.json")["notebooks"]
    assert sorted(told) == BOTH
    assert told["91-first"]["parameters"]["rate"] == 0.25
    assert (told["91-first"]["status"], told["91-first"]["device"]) == ("finished", "cpu")
    assert told["91-first"]["data"] == {"digits": "0123"}
    assert {"commit", "dirty", "code", "machine", "versions", "seconds", "written"} <= told["91-first"].keys()
    assert str(suite) not in (results / "91-first" / EXECUTED).read_text()
    assert f"resumed {len(str(suite))}" in outputs(suite, "92-second-part")


def test_finished_notebooks_are_kept(call, suite):
    before = (suite / "results/quick/91-first" / MARKER).stat().st_mtime_ns
    status, out, _ = call()
    assert status == 0
    assert out.count("kept: finished before") == 2
    assert "2 notebooks: 2 kept" in out
    assert (suite / "results/quick/91-first" / MARKER).stat().st_mtime_ns == before
    said = f"{suite}/results/quick, 2 notebooks: every verdict follows from its rows\n"
    assert call("--check") == (0, said, "")


def test_failing_notebook_is_reported_and_the_others_go_on(call, suite):
    status, out, _ = call("-p", "91.mode=raise", "-p", "92.seed=5")
    assert status == 1
    assert "2 notebooks: 1 failed, 1 finished" in out or "2 notebooks: 1 finished, 1 failed" in out
    assert "FAILED after" in out
    assert "ValueError: as asked, in cell 5 of 5; see" in out
    assert "as asked" in outputs(suite, "91-first")
    ledger = read(suite / "results/quick/ledger.json")
    assert [claim["id"] for claim in ledger["claims"]] == ["claim-of-92"]
    status, out, _ = call("--check")
    assert status == 1
    assert f"91-first/{EXECUTED}: ends in an error: as asked" in out


def test_repeat_runs_what_failed_and_fresh_runs_all(call, suite):
    status, out, _ = call("--only", "91")
    assert (status, "1 notebook: 1 finished" in out) == (0, True)
    assert len(read(suite / "results/quick/ledger.json")["claims"]) == 2
    status, out, _ = call("--fresh", "--only", "second")
    assert (status, "kept" in out) == (0, False)
    assert "fresh 0" in outputs(suite, "92-second-part")
    assert read(suite / "results/quick/provenance.json")["notebooks"]["91-first"]["status"] == "finished"


def test_fresh_computes_again_what_was_cached_before(tmp_path, monkeypatch):
    write_entry(tmp_path, "0" * 64, {}, {"accuracy": 0.5}, {})
    assert read_row(tmp_path, "0" * 64) == {"accuracy": 0.5}
    monkeypatch.setenv("MIXUP_FRESH_SINCE", repr(time.time() + 60))
    assert read_row(tmp_path, "0" * 64) is None
    monkeypatch.setenv("MIXUP_FRESH_SINCE", repr(time.time() - 60))
    assert read_row(tmp_path, "0" * 64) == {"accuracy": 0.5}


def test_check_sees_a_verdict_that_does_not_follow(call, suite):
    path = suite / "results/quick/ledger.json"
    kept = path.read_text()
    path.write_text(kept.replace('"verdict": "supported"', '"verdict": "refuted"'))
    status, out, _ = call("--check")
    path.write_text(kept)
    assert status == 1
    assert "claim-of-91: `verdict` is 'refuted', the stored rows give 'supported'" in out
    assert call("--check")[0] == 0


def test_full_disk_is_one_line_and_loses_nothing_finished(call, suite, monkeypatch):
    def full(*_):
        raise OSError(28, "Cannot write provenance.json in the folder X: No space left on device")

    monkeypatch.setattr("mixup_theory.provenance.update", full)
    status, _, err = call("--fresh", "--only", "91")
    assert status == 1
    assert "No space left on device" in err
    assert err.count("\n") == 1
    monkeypatch.undo()
    monkeypatch.setattr("mixup_theory.results.code_version", lambda: "code")
    assert "91-first  kept" in call("--only", "91")[1]


def interruptible(tmp_path, notebook_file):
    """Start a suite whose second notebook waits; return it when the first has finished and the second waits."""
    suite = make_suite(tmp_path, notebook_file)
    code = "import sys, pathlib, reproduce as r, mixup_theory.results as e; e.code_version = lambda: 'code'; "
    code += "sys.exit(r.main(sys.argv[2:], pathlib.Path(sys.argv[1])))"
    argv = [sys.executable, "-c", code, suite, "--jobs", "1", "-p", "92.mode=wait"]
    process = subprocess.Popen(
        argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    waits = suite / "results/quick/92-second-part/pid.txt"
    deadline = time.monotonic() + 90
    while not (waits.exists() and waits.read_text()) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.1)
    return suite, process, int(waits.read_text())


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until_gone(pid):
    deadline = time.monotonic() + 20
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not alive(pid)


def test_interrupted_suite_keeps_what_is_finished(tmp_path, notebook_file):
    suite, process, kernel = interruptible(tmp_path, notebook_file)
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    assert "Traceback" not in out
    assert "stopped; the same command goes on from here" in out
    assert wait_until_gone(kernel)
    results = suite / "results" / "quick"
    assert (results / "91-first" / MARKER).exists()
    assert not (results / "92-second-part" / MARKER).exists()
    assert [claim["id"] for claim in read(results / "ledger.json")["claims"]] == ["claim-of-91"]
    assert sorted(read(results / "provenance.json")["notebooks"]) == ["91-first"]


def test_killed_suite_leaves_no_process_and_the_repeat_completes_it(tmp_path, notebook_file, capsys):
    suite, process, kernel = interruptible(tmp_path, notebook_file)
    process.kill()
    process.communicate(timeout=60)
    assert wait_until_gone(kernel)
    assert reproduce.main([], root=suite) == 0
    out = capsys.readouterr().out
    assert "91-first        kept" in out
    assert "92-second-part  finished" in out


@pytest.mark.timeout(120)
def test_scheduler_reaches_the_notebooks_and_one_that_does_not_answer_is_one_line(tmp_path, notebook_file, capsys):
    from mixup_theory.experiments import cluster

    suite = make_suite(tmp_path, notebook_file)
    parameters = (tmp_path / "notebooks" / "91-first.ipynb").read_text()
    (tmp_path / "notebooks" / "91-first.ipynb").write_text(
        parameters.replace("seed: int", 'scheduler: str = \\"\\"  # where\\nseed: int').replace(
            'print(\\"fresh\\"', "print(scheduler == os.environ['MIXUP_SCHEDULER'], scheduler)\\nprint(\\\"fresh\\\""
        )
    )
    local = cluster.LocalCluster()
    address = local.client.scheduler.address
    try:
        status = reproduce.main(["--only", "91", "--scheduler", address], root=suite)
    finally:
        local.close()
    out = capsys.readouterr().out
    assert (status, out.startswith(f"{address}: 0 workers\n")) == (0, True)
    assert f"True {address}" in outputs(suite, "91-first")
    assert reproduce.main(["--only", "91"], root=suite) == 0
    assert "91-first  kept" in capsys.readouterr().out  # where a notebook trains does not change what it is
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster.connect, "__defaults__", (0.5,))
        assert reproduce.main(["--fresh", "--scheduler", address], root=suite) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert printed.err.startswith(f"reproduce.py: No Dask scheduler answers at {address}: ")
