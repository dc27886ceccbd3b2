"""The recorder a notebook calls: declaration, evidence, verdict as text, files."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from mixup_theory.decision import decide
from mixup_theory.recorder import CLAIMS_FILE, EVIDENCE_COLUMNS, EVIDENCE_FILE, Recorder, parts_of, table_cell
from mixup_theory.rules import Equality, Identity, Ordering, Part


@pytest.fixture
def record(tmp_path):
    return Recorder(notebook="02-covariance-shrinkage", profile="quick", output_dir=tmp_path / "out")


def declare(record, rule, name="a-claim", **options):
    return record.claim(name, statement="It is so.", source="someone 2020", rule=rule, **options)


def test_from_declaration_to_files(record):
    shown = declare(record, Equality(0.05), "covariance-factor")._repr_markdown_()
    assert "It is so." in shown
    assert "fixed before any number" in shown
    declare(record, Ordering(), "b-claim", unit="splits")
    rng = np.random.default_rng(0)
    factors = rng.normal(2 / 3, 0.01, 5)
    record.evidence("covariance-factor", "alpha = 1", factors, predicted=2 / 3)
    record.evidence("covariance-factor", "alpha = 2", rng.normal(0.6, 0.01, 5), 0.6, units=list("abcde"))
    record.evidence("b-claim", "gain", rng.normal(5, 1, 5))
    path = record.save()
    stored = json.loads(path.read_text())
    assert (path.name, stored["notebook"], stored["profile"]) == (CLAIMS_FILE, "02-covariance-shrinkage", "quick")
    assert [claim["id"] for claim in stored["claims"]] == ["covariance-factor", "b-claim"]
    first = stored["claims"][0]
    assert (first["verdict"], first["n"], first["unit"], first["num_parts"]) == ("supported", 5, "seeds", 2)
    assert first["p_adjusted"] is None
    frame = pd.read_parquet(path.with_name(EVIDENCE_FILE))
    assert tuple(frame.columns) == EVIDENCE_COLUMNS
    assert len(frame) == 15
    assert frame["unit"].tolist()[5:10] == list("abcde")
    assert frame.query("part == 'alpha = 1'")["value"].tolist() == factors.tolist()  # bit for bit
    assert frame.query("claim == 'b-claim'")["predicted"].isna().all()
    parts = parts_of(frame)
    assert list(parts) == ["covariance-factor", "b-claim"]
    assert [part.label for part in parts["covariance-factor"]] == ["alpha = 1", "alpha = 2"]
    assert decide(Equality(0.05), parts["covariance-factor"]).measured == first["measured"]
    assert parts["b-claim"][0].predicted is None


def test_saving_twice_gives_the_same_bytes(record):
    declare(record, Ordering())
    record.evidence("a-claim", "gain", [1.0, 2.0, 3.0])
    path = record.save()
    before = [path.read_bytes(), path.with_name(EVIDENCE_FILE).read_bytes()]
    record.save()
    assert before == [path.read_bytes(), path.with_name(EVIDENCE_FILE).read_bytes()]


def test_saving_without_claims_gives_readable_files(record):
    path = record.save()
    assert json.loads(path.read_text())["claims"] == []
    assert parts_of(pd.read_parquet(path.with_name(EVIDENCE_FILE))) == {}


def test_the_verdict_shows_itself_from_the_data(record):
    declare(record, Equality(0.1), correction="The factor is another.")
    record.evidence("a-claim", "n = 4 | flip", [0.5, 0.52, 0.51, 0.5], predicted=0.9)
    record.evidence("a-claim", "n = 8", [0.89, 0.9, 0.91, 0.9], predicted=0.9)
    verdict = record.decide("a-claim")
    text = verdict._repr_markdown_()
    assert verdict.claim.verdict == "refuted"
    assert "**`a-claim`: refuted** (before Holm's correction over the profile)" in text
    assert "| n = 8 | 0.9 ± 0.1 | 0.900 [0.887, 0.913] | 4 | holds |" in text
    assert r"n = 4 \| flip" in text
    assert "| fails |" in text
    assert "What holds instead:* The factor is another." in text


def test_the_correction_stays_silent_unless_refuted(record):
    declare(record, Equality(0.1), correction="The factor is another.")
    record.evidence("a-claim", "n", [0.89, 0.9, 0.91, 0.9], predicted=0.9)
    assert "another" not in record.decide("a-claim")._repr_markdown_()
    declare(record, Ordering(), "b-claim")
    record.evidence("b-claim", "gain", [0.5, -0.4, 0.3])
    text = record.decide("b-claim")._repr_markdown_()
    assert "inconclusive" in text
    assert "units would decide" in text


def test_an_identity_is_not_said_to_await_a_correction(record):
    declare(record, Identity(1e-9))
    record.evidence("a-claim", "exact", [0.5], predicted=0.5)
    text = record.decide("a-claim")._repr_markdown_()
    assert "Holm" not in text
    assert "range" in text


def test_many_parts_are_cut_to_the_telling_ones(record):
    declare(record, Identity(1e-9))
    for k in range(30):
        record.evidence("a-claim", f"case {k}", [1.0 + (k == 20)], predicted=1.0)
    text = record.decide("a-claim")._repr_markdown_()
    assert text.count("| case ") == 12
    assert "| case 20 |" in text
    assert "18 more parts" in text
    declare(record, Identity(1e-9))
    for k in range(30):
        record.evidence("a-claim", f"case {k}", [1.0 + (k >= 19)], predicted=1.0)
    text = record.decide("a-claim")._repr_markdown_()
    assert [k for k in range(30) if f"| case {k} |" in text] == [0, *range(19, 30)]


def test_running_cells_again(record):
    declare(record, Ordering())
    record.evidence("a-claim", "gain", [1.0, 2.0])
    record.evidence("a-claim", "gain", [1.0, 2.0])  # the same cell once more
    assert len(record.decide("a-claim").decision.parts) == 1
    with pytest.raises(ValueError, match="again with other numbers"):
        record.evidence("a-claim", "gain", [1.0, 2.5])
    declare(record, Ordering())  # starts over
    record.evidence("a-claim", "gain", [1.0, 2.5])


def test_what_a_recorder_refuses(record, tmp_path):
    declare(record, Equality(0.1))
    with pytest.raises(ValueError, match="declared claims"):
        record.evidence("other", "a", [1.0], 1.0)
    with pytest.raises(ValueError, match="declared claims"):
        record.decide("other")
    with pytest.raises(ValueError, match="must have evidence"):
        record.decide("a-claim")
    with pytest.raises(ValueError, match="must have evidence"):
        record.save()
    with pytest.raises(ValueError, match="`predicted` must be given"):
        record.evidence("a-claim", "a", [1.0, 2.0])
    with pytest.raises(ValueError, match="different names"):
        record.evidence("a-claim", "a", [1.0, 2.0], 1.0, units=["seed 0", "seed 0"])
    with pytest.raises(ValueError, match="2 different names"):
        record.evidence("a-claim", "a", [1.0, 2.0], 1.0, units=["seed 0"])
    with pytest.raises(ValueError, match="finite"):
        record.evidence("a-claim", "a", [1.0, np.nan], 1.0)
    with pytest.raises(ValueError, match="`rule`"):
        declare(record, "equality")
    with pytest.raises(ValueError, match="must be an equality"):
        declare(record, Ordering(), "covariance-factor")
    with pytest.raises(ValueError, match="`source`"):
        record.claim("b", statement="It is so.", source=" ", rule=Ordering())
    for options in ({"notebook": "covariance"}, {"profile": ""}, {"notebook": "../02-x"}):
        with pytest.raises(ValueError, match="must be a name"):
            Recorder(**{"notebook": "02-x", "profile": "quick", "output_dir": tmp_path} | options)


def test_damaged_rows_are_refused():
    rows = pd.DataFrame({"claim": "c", "part": "a", "unit": ["0", "1"], "predicted": [1.0, 2.0], "value": [0.0, 1.0]})
    with pytest.raises(ValueError, match="one number in part 'a' of 'c'"):
        parts_of(rows)
    with pytest.raises(ValueError, match="columns"):
        parts_of(rows.drop(columns="unit"))
    with pytest.raises(ValueError, match="finite"):
        parts_of(rows.assign(predicted=1.0, value=np.nan))
    assert parts_of(rows.assign(predicted=1.0)) == {"c": [Part("a", (0.0, 1.0), 1.0)]}


def test_table_cells():
    assert table_cell("a | b\n c") == r"a \| b c"
    assert table_cell(r"a \| b") == r"a \| b"
