"""Decision rules: what they allow, what they refuse, how they read, and their JSON form."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from mixup_theory.rules import Equality, Identity, Ordering, Part, rule_from_dict, rule_to_dict

RULES = [
    Identity(1e-9),
    Identity(1e-6, relative=True),
    Equality(0.02),
    Equality(0.1, relative=True, level=0.9, method="bca"),
    Ordering(),
    Ordering(minimum=-0.5, level=0.99, method="bca"),
]


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_survives_json(rule):
    assert rule_from_dict(json.loads(json.dumps(rule_to_dict(rule)))) == rule


@pytest.mark.parametrize(
    "record",
    [
        {},
        None,
        {"kind": "equal"},
        {"kind": "identity"},
        {"kind": "identity", "tolerance": 1e-9, "relative": False, "level": 0.95},
        {"kind": "identity", "tolerance": 0.0, "relative": False},
    ],
)
def test_a_damaged_rule_is_refused(record):
    with pytest.raises(ValueError, match="must"):
        rule_from_dict(record)


def test_the_accepted_range():
    part = Part.of("a", [1.0], predicted=-2.0)
    assert Equality(0.5).accepted(part) == (-2.5, -1.5)
    assert Equality(0.1, relative=True).accepted(part) == pytest.approx((-2.2, -1.8))
    assert Identity(0.25).accepted(part) == (-2.25, -1.75)
    assert Ordering(minimum=0.3).accepted(part) == (0.3, math.inf)


@pytest.mark.parametrize(
    ("rule", "part", "words"),
    [
        (Equality(0.1), Part.of("a", [1.0]), "must be given for the part 'a'"),
        (Identity(0.1), Part.of("a", [1.0]), "must be given for the part 'a'"),
        (Equality(0.1, relative=True), Part.of("a", [1.0], predicted=0), "must not be 0"),
    ],
)
def test_a_prediction_is_needed(rule, part, words):
    with pytest.raises(ValueError, match=words):
        rule.accepted(part)


@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf, "x", None])
def test_margins_must_be_positive(bad):
    with pytest.raises(ValueError, match="margin"):
        Equality(bad)
    with pytest.raises(ValueError, match="tolerance"):
        Identity(bad)


@pytest.mark.parametrize("bad", [0.0, 1.0, 95, math.nan, "x"])
@pytest.mark.parametrize("make", [lambda level: Equality(0.1, level=level), lambda level: Ordering(level=level)])
def test_levels_must_lie_between_zero_and_one(make, bad):
    with pytest.raises(ValueError, match="level"):
        make(bad)


def test_other_wrong_rules():
    with pytest.raises(ValueError, match="minimum"):
        Ordering(minimum=math.inf)
    with pytest.raises(ValueError, match="method"):
        Ordering(method="z")
    with pytest.raises(ValueError, match="method"):
        Equality(0.1, method="percentile")


def test_a_part_is_checked():
    part = Part.of("a", np.array([1, 2], dtype=np.float32), np.float64(0.5))
    assert part == Part("a", (1.0, 2.0), 0.5)
    assert isinstance(part.predicted, float)
    for label, values, predicted in [
        ("", [1.0], 0),
        (3, [1.0], 0),
        ("a", [], 0),
        ("a", [math.nan], 0),
        ("a", [1], "x"),
    ]:
        with pytest.raises(ValueError, match="must"):
            Part.of(label, values, predicted)
    with pytest.raises(ValueError, match="predicted"):
        Part.of("a", [1.0], math.nan)


def test_the_descriptions_carry_their_numbers():
    assert "0.02" in Equality(0.02).describe()
    assert "95 %" in Equality(0.02).describe()
    assert "within 2 % of" in Equality(0.02, relative=True).describe()
    assert "BCa" in Ordering(method="bca").describe()
    assert "above 0.01" in Ordering(minimum=0.01).describe()
    assert "1e-09" in Identity(1e-9).describe()
