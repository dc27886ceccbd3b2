"""Tests of every notebook: its form, its parameters, and a run at the smallest scale through the suite's own runner."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

import reproduce
from mixup_theory.claims import CLAIM_IDS
from mixup_theory.ledger import read_ledger
from mixup_theory.parameters import STANDARD, load_profiles, read_notebook
from mixup_theory.results import EXECUTED

ROOT = Path(reproduce.__file__).parent
PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PROFILES = load_profiles(ROOT / "profiles.toml")
TRAINING = {"backward", "zero_grad"}
every_notebook = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def cells_of(path, kind=None):
    cells = json.loads(path.read_text())["cells"]
    return [cell for cell in cells if kind in (None, cell["cell_type"])]


def trees_of(path):
    return [ast.parse("".join(cell["source"])) for cell in cells_of(path, "code")]


def claim_ids(path):
    """The ids of claims that stand in the notebook's code: required ones anywhere, and all given to `record.claim`."""
    nodes = [node for tree in trees_of(path) for node in ast.walk(tree)]
    calls = [node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    texts = [node.value for node in nodes if isinstance(node, ast.Constant)]
    given = [call.args[0] for call in calls if call.func.attr == "claim"]
    literal = {argument.value for argument in given if isinstance(argument, ast.Constant)}
    return literal | {text for text in texts if CLAIM_IDS.get(text) == path.stem[:2]}


def test_there_are_notebooks_and_every_table_of_the_profiles_is_one():
    names = {path.stem for path in PATHS}
    assert names
    for profile in PROFILES.values():
        assert set(profile.values) <= names, profile.name
    for required in ("quick", "standard", "tiny"):
        assert set(PROFILES[required].values) == names, required


@every_notebook
def test_form(path):
    notebook = json.loads(path.read_text())
    cells = notebook["cells"]
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert 15 <= len(cells) <= 25
    ids = [cell["id"] for cell in cells]
    assert len(set(ids)) == len(ids)
    assert cells[0]["cell_type"] == "markdown"
    assert "".join(cells[0]["source"]).startswith(f"# {path.stem[:2]} ")
    assert any(word in "".join(cell["source"]).lower() for cell in cells for word in ("## limits", "**limits"))
    assert any("references" in "".join(cell["source"]).lower() for cell in cells)


@every_notebook
def test_no_outputs_are_stored(path):
    for cell in cells_of(path, "code"):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


@every_notebook
def test_code_is_short_and_trains_nothing(path):
    for cell in cells_of(path, "code"):
        assert len("".join(cell["source"]).splitlines()) <= 25
    nodes = [node for tree in trees_of(path) for node in ast.walk(tree)]
    assert sum(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for node in nodes) <= 1
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    assert not used & TRAINING
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert not [name for name in imported if name.startswith(("torch.optim", "tqdm"))]


@every_notebook
def test_profiles_set_exactly_the_parameters_there_are(path):
    notebook = read_notebook(path)
    used = {name for profile in PROFILES.values() for name in profile.values.get(notebook.name, {})}
    own = set(notebook.parameters) - set(STANDARD)
    assert own - {"seed"} <= used
    assert used <= own
    assert notebook.parameters["output_dir"].default == f"../results/by-hand/{notebook.name}"
    assert notebook.parameters["cache_dir"].default == "../results/by-hand/cache"
    assert "time_limit" not in own


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The results folder of one run of the whole suite at scale tiny, with its exit status."""
    output = tmp_path_factory.mktemp("results")
    return output / "tiny", reproduce.main(["--profile", "tiny", "--output", str(output)])


@every_notebook
def test_runs_and_gives_every_claim_a_verdict(path, tiny):
    folder = tiny[0]
    cells = json.loads((folder / path.stem / EXECUTED).read_text())["cells"]
    outputs = [out for cell in cells for out in cell.get("outputs", [])]
    assert not [out for out in outputs if out["output_type"] == "error"]
    assert not [out["text"] for out in outputs if out.get("name") == "stderr"]
    assert list((folder / path.stem).glob("*.png"))
    verdicts = {claim.id: claim.verdict for claim in read_ledger(folder).claims if claim.notebook == path.stem}
    assert claim_ids(path)
    assert claim_ids(path) <= set(verdicts)  # it may add claims of its own in a loop


def test_suite_at_scale_tiny_succeeds_and_its_check_confirms_it(tiny, capsys):
    folder, status = tiny
    assert status == 0
    assert reproduce.main(["--profile", "tiny", "--output", str(folder.parent), "--check"]) == 0
    assert "every verdict follows from its rows" in capsys.readouterr().out


def test_profile_gpu_runs_on_a_cpu_at_a_tiny_size(tmp_path):
    small = {"dataset": "digits", "hidden": [2], "widths": [2]}  # with the gpu profile's own network and augmentation
    overrides = []
    for name, values in PROFILES["gpu"].values.items():
        changed = PROFILES["tiny"].values[name] | {key: value for key, value in small.items() if key in values}
        for key, value in changed.items():
            overrides += ["-p", f"{name}.{key}={value if isinstance(value, str) else json.dumps(value)}"]
    status = reproduce.main(["--profile", "gpu", "--device", "cpu", "--output", str(tmp_path), *overrides])
    assert status == 0
    finished = {claim.notebook for claim in read_ledger(tmp_path / "gpu").claims}
    assert finished == set(PROFILES["gpu"].values)


def test_notebooks_leave_nothing_beside_their_results(tiny):
    assert {path.name for path in tiny[0].iterdir()} <= {
        "ledger.json",
        "provenance.json",
        "cache",
        *(path.stem for path in PATHS),
    }
