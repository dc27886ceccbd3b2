"""The ledger: Holm's correction, the final verdicts, recomputation from rows, and its text."""

from __future__ import annotations

import json
import os

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr

from mixup_theory.ledger import (
    LEDGER_FILE,
    Ledger,
    collect,
    holm,
    markdown_table,
    read_ledger,
    recompute,
    refuted_markdown,
    write_ledger,
)
from mixup_theory.recorder import CLAIMS_FILE, EVIDENCE_FILE, Recorder
from mixup_theory.rules import Equality, Identity, Ordering

Z = np.array([-1.2, -0.4, 0.1, 0.5, 1.0])  # units around a mean
Z = np.sqrt(5) * (Z - Z.mean()) / Z.std(ddof=1)  # standard error 1: a mean is a t value


def notebook(folder, name, claims, profile="quick"):
    """Record claims given as id -> (rule, t value or list of values, predicted)."""
    record = Recorder(notebook=name, profile=profile, output_dir=folder / name)
    for claim, (rule, values, predicted) in claims.items():
        record.claim(claim, statement=f"{claim} holds.", source="someone", rule=rule, correction=f"not {claim}.")
        record.evidence(claim, "only", values + Z if isinstance(values, float) else values, predicted)
    record.save()


@pytest.fixture
def results(tmp_path):
    """One profile: t values 20, 3.8 and 3.2 on four degrees of freedom, one refutation, two identities."""
    folder = tmp_path / "quick"
    notebook(
        folder,
        "01-mixing-weight",
        {"exact-yes": (Identity(1e-9), [1.0], 1.0), "exact-no": (Identity(1e-9), [1.1], 1.0)},
    )
    notebook(
        folder,
        "91-second",
        {"strong": (Ordering(), 20.0, None), "weak": (Ordering(), 3.2, None), "against": (Equality(5.0), 30.0, 0.0)},
    )
    notebook(folder, "92-third", {"middling": (Ordering(), 3.8, None), "nothing": (Ordering(), 0.5, None)})
    write_ledger(collect(folder), folder)
    return folder


def edit(path, change):
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


# ---- Holm ----


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.02]) == [0.02]
    assert holm([]) == []
    assert holm([0.6, 0.9]) == [1.0, 1.0]


def test_holm_by_its_definition(monkeypatch):
    monkeypatch.setattr("gc.collect", lambda: 0)  # statsmodels collects garbage on every call
    rng = np.random.default_rng(0)
    for _ in range(50):
        p = rng.uniform(size=rng.integers(1, 12)) ** 3
        order = np.argsort(p)
        expected = np.empty(len(p))
        running = 0.0
        for rank, index in enumerate(order):
            running = max(running, min(1.0, (len(p) - rank) * p[index]))
            expected[index] = running
        np.testing.assert_allclose(holm(p), expected, rtol=1e-14)


def test_holm_keeps_the_chance_of_any_wrong_verdict_in_either_direction(monkeypatch):
    monkeypatch.setattr("gc.collect", lambda: 0)  # statsmodels collects garbage on every call
    rng = np.random.default_rng(4)
    wrong, runs, num_claims = 0, 2000, 6
    for _ in range(runs):
        effects = rng.choice([0.0, 3.0], num_claims)  # 0: any verdict is wrong; 3: only a refutation is
        z = rng.normal(effects)
        decided = np.array(holm(2 * ndtr(-np.abs(z)))) <= 0.05
        wrong += bool(np.any(decided & ((effects == 0) | (z < 0))))
    assert wrong / runs < 0.05 + 6 * np.sqrt(0.05 * 0.95 / runs)


# ---- collecting ----


def test_the_correction_takes_back_what_does_not_survive(results):
    ledger = read_ledger(results)
    verdicts = {claim.id: claim.verdict for claim in ledger.claims}
    assert verdicts == {
        "exact-yes": "supported",
        "exact-no": "refuted",
        "strong": "supported",
        "weak": "inconclusive",
        "against": "refuted",
        "middling": "inconclusive",
        "nothing": "inconclusive",
    }
    before = {name: row["verdict_before"] for name, row in ledger.holm["claims"].items()}
    assert before == {
        "strong": "supported",
        "weak": "supported",
        "against": "refuted",
        "middling": "supported",
        "nothing": "inconclusive",
    }
    assert (ledger.holm["num_claims"], ledger.holm["multiplicity"]) == (5, 3)


def test_adjusted_p_values_and_units_needed(results):
    ledger = read_ledger(results)
    claims = {claim.id: claim for claim in ledger.claims}
    names = list(ledger.holm["claims"])
    expected = dict(zip(names, holm([claims[name].p_value for name in names]), strict=True))
    assert {name: claims[name].p_adjusted for name in names} == expected
    assert claims["exact-yes"].p_adjusted is None
    assert claims["weak"].p_value < 0.05 < claims["weak"].p_adjusted
    assert claims["weak"].needed_n > 5
    assert claims["strong"].needed_n is None


def test_the_units_said_to_be_needed_survive_the_correction(results, tmp_path):
    claim = {claim.id: claim for claim in read_ledger(results).claims}["middling"]
    rng = np.random.default_rng(0)
    z = rng.normal(size=claim.needed_n)
    z = (z - z.mean()) / z.std(ddof=1)
    folder = tmp_path / "more"
    for name in ("01-mixing-weight", "91-second"):
        os.makedirs(folder / name)
        for file in (CLAIMS_FILE, EVIDENCE_FILE):
            (folder / name / file).write_bytes((results / name / file).read_bytes())
    notebook(folder, "92-third", {"middling": (Ordering(), 3.8 + np.sqrt(5) * z, None)})
    assert {claim.id: claim.verdict for claim in collect(folder).claims}["middling"] == "supported"


def test_claims_of_different_levels(tmp_path):
    rows = {"lenient": (0.8, 3.75), "usual": (0.95, 3.7), "nothing": (0.95, 0.5)}
    claims = {name: (Ordering(level=level), t, None) for name, (level, t) in rows.items()}
    notebook(tmp_path, "91-second", claims)
    ledger = collect(tmp_path)
    for claim in ledger.claims:
        assert (claim.verdict == "supported") == (claim.p_adjusted <= 1 - claim.rule.level)
    # Two claims are left undecided, and half of 0.05 would let this one through; its adjusted value does not.
    usual = ledger.claims[1]
    assert (ledger.holm["multiplicity"], usual.verdict) == (2, "inconclusive")
    assert usual.p_value < 0.025


def test_only_the_notebooks_asked_for(results):
    ledger = collect(results, ["92-third"])
    assert [claim.id for claim in ledger.claims] == ["middling", "nothing"]
    assert ledger.holm["num_claims"] == 2


def test_an_empty_profile_has_an_empty_ledger(tmp_path):
    folder = tmp_path / "quick"
    folder.mkdir()
    write_ledger(collect(folder), folder)
    assert json.loads((folder / LEDGER_FILE).read_text())["claims"] == []
    assert recompute(folder) == []


def test_collect_refuses_what_does_not_fit_together(results):
    notebook(results, "93-more", {"strong": (Ordering(), 4.0, None)})
    with pytest.raises(ValueError, match="strong in two notebooks"):
        collect(results)
    notebook(results, "93-more", {"other": (Ordering(), 4.0, None)}, profile="standard")
    with pytest.raises(ValueError, match="one profile, got quick, standard"):
        collect(results)


@pytest.mark.parametrize("file", [CLAIMS_FILE, EVIDENCE_FILE])
def test_damaged_files_are_named(results, file):
    path = results / "92-third" / file
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=rf"damaged file, .*92-third.{file}"):
        collect(results)
    assert any(file in line for line in recompute(results))


def test_missing_files_are_named(results):
    (results / "92-third" / EVIDENCE_FILE).unlink()
    with pytest.raises(ValueError, match=r"92-third.evidence.parquet, which is missing"):
        collect(results)
    with pytest.raises(ValueError, match="94-no"):
        collect(results, ["94-no"])
    (results / LEDGER_FILE).unlink()
    with pytest.raises(ValueError, match=r"ledger\.json, which is missing"):
        read_ledger(results)


# ---- recomputation ----


def test_what_was_written_is_confirmed(results):
    assert recompute(results) == []
    stored = json.loads((results / LEDGER_FILE).read_text())
    assert list(stored) == ["profile", "claims", "holm"]
    assert Ledger.from_dict(stored).to_dict() == stored
    assert read_ledger(results) == collect(results)


@pytest.mark.parametrize(
    ("field", "value"),
    [("verdict", "supported"), ("measured", 0.9), ("n", 50), ("interval", [0.0, 1.0]), ("p_value", 0.2)],
)
def test_a_tampered_ledger_is_found(results, field, value):
    def change(record):
        (claim,) = (claim for claim in record["claims"] if claim["id"] == "middling")
        assert claim[field] != value
        claim[field] = value

    edit(results / LEDGER_FILE, change)
    differences = recompute(results)
    assert len(differences) == 1
    assert "middling" in differences[0]
    assert field in differences[0]


def test_a_tampered_verdict_in_a_notebook_is_found(results):
    edit(results / "91-second" / CLAIMS_FILE, lambda record: record["claims"][1].update(verdict="refuted"))
    (difference,) = recompute(results)
    assert difference.startswith("91-second/claims.json: weak: `verdict` is 'refuted'")


def test_a_tampered_rule_or_statement_is_found(results):
    edit(results / LEDGER_FILE, lambda record: record["claims"][0].update(statement="Something easier."))
    assert any("statement" in line for line in recompute(results))
    edit(results / "91-second" / CLAIMS_FILE, lambda record: record["claims"][0]["rule"].update(minimum=-1.0))
    assert any("strong: `rule`" in line for line in recompute(results))


def test_tampered_rows_are_found(results):
    path = results / "91-second" / EVIDENCE_FILE
    frame = pd.read_parquet(path)
    frame.loc[frame["claim"] == "strong", "value"] *= 1.001
    frame.to_parquet(path, index=False)
    assert any("strong: `measured`" in line for line in recompute(results))


def test_rounding_is_no_difference_and_more_is(results):
    def scale(factor):
        def change(record):
            record["claims"][2]["measured"] *= factor

        return change

    edit(results / LEDGER_FILE, scale(1 + 1e-12))
    assert recompute(results) == []
    edit(results / LEDGER_FILE, scale(1 + 1e-5))
    assert len(recompute(results)) == 1


def test_lost_and_invented_claims_are_found(results):
    edit(results / LEDGER_FILE, lambda record: record["claims"].pop(2))
    assert any("strong is missing" in line for line in recompute(results))
    edit(results / LEDGER_FILE, lambda record: record["claims"].append(record["claims"][0] | {"id": "invented"}))
    assert any("invented is not in any notebook" in line for line in recompute(results))
    edit(results / LEDGER_FILE, lambda record: record["claims"].append(record["claims"][0]))
    assert any("comes twice" in line for line in recompute(results))


def test_a_tampered_record_of_the_correction_is_found(results):
    edit(results / LEDGER_FILE, lambda record: record["holm"].update(num_claims=1))
    assert any("Holm" in line for line in recompute(results))


def test_a_missing_ledger_is_a_difference(results):
    (results / LEDGER_FILE).unlink()
    assert "missing" in recompute(results)[0]


def test_rows_without_claim_and_claims_without_rows_are_found(results):
    path = results / "92-third" / EVIDENCE_FILE
    frame = pd.read_parquet(path)
    frame[frame["claim"] != "nothing"].to_parquet(path, index=False)
    assert any("rows for every claim" in line for line in recompute(results))


def test_a_failed_write_keeps_the_old_ledger(results, monkeypatch):
    old = (results / LEDGER_FILE).read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mixup_theory._files.os.replace", fail)
    with pytest.raises(OSError, match="No space left"):
        write_ledger(collect(results, ["92-third"]), results)
    assert (results / LEDGER_FILE).read_bytes() == old
    assert [name for name in os.listdir(results) if name.endswith(".tmp")] == []


# ---- text ----


def test_the_table_of_the_readme(results):
    lines = markdown_table(read_ledger(results)).splitlines()
    assert lines[0] == "| claim | predicted | measured with interval (n) | verdict | notebook |"
    assert len(lines) == 2 + 7
    row = lines[2 + 2]
    assert row.startswith("| `strong` strong holds. | > 0 | 20.0 [17.2, 22.8] (5 seeds) | **supported** |")
    assert row.endswith("[91](results/quick/91-second/executed.ipynb) |")
    assert "inconclusive, about" in lines[2 + 3]
    assert all(line.count(" | ") == 4 for line in lines if "---" not in line)


def test_the_list_of_the_refuted(results):
    text = refuted_markdown(read_ledger(results))
    assert text.count("\n") == 2
    assert (
        "`against` against holds. Measured 30.0 [27.2, 32.8] (5 seeds), said 0 ± 5. **Instead:** not against." in text
    )
    assert refuted_markdown(collect(results, ["92-third"])) == "No claim was refuted.\n"
