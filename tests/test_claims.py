"""Claims: which there must be, their form, their JSON, and how their numbers read."""

from __future__ import annotations

import dataclasses
import json

import pytest

from mixup_theory.claims import (
    CLAIM_IDS,
    CLAIM_KINDS,
    Claim,
    check_claim_id,
    interval_text,
    missing_claims,
    predicted_text,
)
from mixup_theory.decision import decide
from mixup_theory.rules import Equality, Identity, Ordering, Part

DECLARED = {
    "id": "a-claim",
    "statement": "It is so.",
    "source": "someone 2020; theory A.1",
    "unit": "seeds",
    "correction": "It is otherwise.",
    "notebook": "90-example",
    "profile": "quick",
}
PARTS = [Part.of("alpha = 1", [0.66, 0.67, 0.668], 2 / 3), Part.of("alpha = 2", [0.61, 0.60, 0.602], 0.6)]


def make(rule, parts=PARTS):
    return Claim.of(decide(rule, parts), rule=rule, **DECLARED)


def test_the_required_claims():
    assert len(CLAIM_IDS) == len(CLAIM_KINDS) == 53
    assert CLAIM_IDS["covariance-always"] == "02"
    assert set(CLAIM_KINDS.values()) == {"identity", "equality", "ordering"}
    assert sorted(set(CLAIM_IDS.values())) == [f"{k:02d}" for k in range(1, 17)]


def test_missing_claims_asks_only_for_the_notebooks_there_are():
    notebooks = ["02-covariance-shrinkage", "03-gradient-identity"]
    wanted = [name for name, number in CLAIM_IDS.items() if number in ("02", "03")]
    assert missing_claims([], notebooks) == wanted
    assert missing_claims(wanted[1:], notebooks) == wanted[:1]
    assert missing_claims([*wanted, "one-more"], notebooks) == []
    assert missing_claims([], ["90-example"]) == []
    assert set(missing_claims([], ["08-overfitting"])) >= {"erm-overfits"}


def test_a_required_claim_keeps_its_notebook_and_its_kind():
    rule = Equality(0.1)
    assert check_claim_id("covariance-always", "02-covariance-shrinkage", rule) == "covariance-always"
    assert check_claim_id("one-more", "02-covariance-shrinkage", rule) == "one-more"
    with pytest.raises(ValueError, match="in notebook 02"):
        check_claim_id("covariance-always", "03-gradient-identity", rule)
    with pytest.raises(ValueError, match="must be an equality, got identity"):
        check_claim_id("covariance-always", "02-covariance-shrinkage", Identity(0.1))
    for bad in ("", "Covariance", "a b", "a--b", "a_b", "-a", None, "ä"):
        with pytest.raises(ValueError, match="hyphens"):
            check_claim_id(bad, "02-covariance-shrinkage", rule)


def test_the_fields_of_the_design_are_there():
    wanted = "id statement source rule predicted measured interval level n unit verdict correction notebook profile"
    assert set(make(Equality(0.1)).to_dict()) >= set(wanted.split())


@pytest.mark.parametrize("rule", [Identity(0.1), Equality(0.1), Equality(1e-6), Ordering(), Ordering(minimum=0.65)])
def test_a_claim_survives_json(rule):
    claim = make(rule)
    text = json.dumps(claim.to_dict(), allow_nan=False)
    assert Claim.from_dict(json.loads(text)) == claim
    assert claim.declared == {**DECLARED, "rule": rule}


def test_the_level_of_an_identity_is_one():
    assert (make(Identity(0.1)).level, make(Ordering(level=0.9)).level) == (1.0, 0.9)


def test_a_damaged_record_is_refused():
    record = make(Ordering()).to_dict()
    with pytest.raises(ValueError, match="colour"):
        Claim.from_dict(record | {"colour": 1})
    with pytest.raises(ValueError, match="verdict"):
        Claim.from_dict({key: value for key, value in record.items() if key != "verdict"})
    with pytest.raises(ValueError, match="one of supported, refuted, inconclusive"):
        Claim.from_dict(record | {"verdict": "true"})
    with pytest.raises(ValueError, match="fields of a Claim"):
        Claim.from_dict([record])


def test_a_claim_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make(Ordering()).verdict = "supported"


@pytest.mark.parametrize(
    ("rule", "predicted", "text"),
    [
        (Equality(0.01), 2 / 3, "0.6667 ± 0.01"),
        (Equality(0.05, relative=True), 12.5, "12.5 ± 5 %"),
        (Identity(1e-12), 0.5, "0.5 ± 1e-12"),
        (Ordering(), None, "> 0"),
        (Ordering(minimum=0.002), 0.0123, "> 0.002 (theory: 0.0123)"),
    ],
)
def test_predicted_text(rule, predicted, text):
    assert predicted_text(rule, predicted) == text


@pytest.mark.parametrize(
    ("mean", "low", "high", "text"),
    [
        (0.66671, 0.65234, 0.68103, "0.667 [0.652, 0.681]"),
        (-0.0042, -0.0141, 0.0057, "-0.004 [-0.014, 0.006]"),
        (12345.0, 12000.0, 12700.0, "12345 [12000, 12700]"),
        (1.25e-7, 1.0e-7, 1.5e-7, "1.25e-07 [1.00e-07, 1.50e-07]"),
        (0.5, 0.5, 0.5, "0.5 [0.5, 0.5]"),
        (0.0, 0.0, 0.0, "0 [0, 0]"),
        (3e7, 2.9e7, 3.1e7, "3.00e+07 [2.90e+07, 3.10e+07]"),
    ],
)
def test_interval_text_shows_two_digits_of_the_width(mean, low, high, text):
    assert interval_text(mean, (low, high)) == text


def test_measured_text():
    assert make(Equality(0.05)).measured_text().endswith("(3 seeds; worst of 2 parts: alpha = 2)")
    parts = [Part.of("first", [0.9, 1.1, 1.0]), Part.of("second", [-2.1, -2.0, -1.9]), Part.of("third", [-9.0, 9.0])]
    refuted = make(Ordering(), parts)
    assert (refuted.verdict, refuted.num_parts, refuted.num_holding, refuted.num_failing) == ("refuted", 3, 1, 1)
    assert refuted.measured_text().endswith("(3 seeds; of 3 parts 1 hold, 1 fail; worst: second)")
    one = [Part.of("only", [0.5, 0.5 + 1e-13], 0.5)]
    assert make(Identity(1e-9), one).measured_text() == "0.5, gap 1.0e-13 (2 seeds)"
