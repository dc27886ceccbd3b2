"""Every record of oracles.json against the public function that its `fn` names; no adapter is a failure."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent


def _adapters() -> dict:
    """Collect the adapters of all sections; a name in two sections is an error."""
    merged: dict = {}
    for path in sorted(HERE.glob("oracles_?.py")):
        adapters = importlib.import_module(path.stem).ADAPTERS
        assert not merged.keys() & adapters.keys(), f"{path.name} repeats {merged.keys() & adapters.keys()}"
        merged.update(adapters)
    return merged


ADAPTERS = _adapters()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per record of the shipped file, or of the file named by --oracles."""
    if "record" in metafunc.fixturenames:
        path = metafunc.config.getoption("--oracles") or HERE / "oracles.json"
        records = json.loads(Path(path).read_text())["oracles"]
        metafunc.parametrize("record", records, ids=[record["id"] for record in records])


def test_record(record: dict) -> None:
    assert record["fn"] in ADAPTERS, f"no adapter for `{record['fn']}` (theory {record['ref']}): write one"
    got = ADAPTERS[record["fn"]](record["inputs"])
    expected = record["expected"] if isinstance(record["expected"], list) else [record["expected"]]
    _assert_close(got if isinstance(record["expected"], list) else [got], expected, record["rtol"], record["desc"])


def _assert_close(got: object, expected: list, rtol: float, message: str) -> None:
    """Compare nested lists entry by entry; 1e-15 absolute serves the records whose value is 0."""
    if isinstance(expected[0], list):
        assert len(got) == len(expected)
        for part, wanted in zip(got, expected, strict=True):
            _assert_close(part, wanted, rtol, message)
        return
    np.testing.assert_allclose(np.asarray(got, dtype=float), expected, rtol=rtol, atol=1e-15, err_msg=message)


def test_the_shipped_file_has_all_records() -> None:
    records = json.loads((HERE / "oracles.json").read_text())["oracles"]
    assert len(records) == 210
    assert len({record["id"] for record in records}) == 210


def test_every_adapter_is_used() -> None:
    names = {record["fn"] for record in json.loads((HERE / "oracles.json").read_text())["oracles"]}
    assert set(ADAPTERS) <= names, f"adapters without a record: {set(ADAPTERS) - names}"
