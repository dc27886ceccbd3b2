"""Decision rules, stated before the data: what a claim allows, and how sure the evidence has to be."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import ArrayLike

from mixup_theory._checks import check_array, check_choice, check_interval, check_positive
from mixup_theory.mean_test import METHODS

__all__ = ["Equality", "Identity", "Ordering", "Part", "Rule", "rule_from_dict", "rule_to_dict"]


@dataclass(frozen=True)
class Part:
    """One number the claim predicts, and what each independent unit gave for it.

    Attributes:
        label: What tells this part from the others, say "alpha = 0.4".
        values: One number per unit (seed, replicate, network), never per epoch or example of one run.
        predicted: The number the claim says; an ordering needs none.
    """

    label: str
    values: tuple[float, ...]
    predicted: float | None = None

    @classmethod
    def of(cls, label: str, values: ArrayLike, predicted: float | None = None) -> Part:
        """Check and convert: `values` one finite number per unit, `predicted` finite or None."""
        if not isinstance(label, str) or not label.strip():
            raise ValueError(f"`label` must be a non-empty text, got {label!r}.")
        if predicted is not None:
            predicted = float(check_interval("predicted", predicted, -math.inf, math.inf, closed="neither"))
        return cls(label, tuple(check_array("values", values, 1).tolist()), predicted)


@dataclass(frozen=True)
class Identity:
    """Exact: every value is the predicted number to a tolerance.

    Attributes:
        tolerance: The largest gap, > 0.
        relative: Whether the tolerance is a share of the predicted number.
    """

    tolerance: float
    relative: bool = False
    kind: ClassVar[str] = "identity"

    def __post_init__(self) -> None:
        check_positive("tolerance", self.tolerance)

    def describe(self) -> str:
        """Return the rule in one sentence."""
        room = _room(self.tolerance, self.relative)
        return f"Supported when every value is within {room} of the predicted one, else refuted."

    def accepted(self, part: Part) -> tuple[float, float]:
        """Return the range of values of this part that the claim allows."""
        return _around(part, self.tolerance, self.relative)


@dataclass(frozen=True)
class Equality:
    """The mean of every part is the predicted number within a margin (two one-sided tests a part).

    Supported when the interval of every part lies inside its margin; refuted when the interval of one part,
    widened by Bonferroni over the parts, lies outside.

    Attributes:
        margin: The largest difference that does not matter, > 0, chosen before the data.
        relative: Whether the margin is a share of the predicted number.
        level: Of the two-sided intervals; a wrong verdict has probability at most 1 - level.
        method: "t", or "bca" for skewed values: at least 10 units, and p-values down to about 0.005 only, so that
            few of its verdicts survive a correction over many claims.
    """

    margin: float
    relative: bool = False
    level: float = 0.95
    method: str = "t"
    kind: ClassVar[str] = "equality"

    def __post_init__(self) -> None:
        check_positive("margin", self.margin)
        check_interval("level", self.level, 0, 1, closed="neither")
        check_choice("method", self.method, METHODS)

    def describe(self) -> str:
        """Return the rule in one sentence."""
        return (
            f"Supported when the {100 * self.level:.4g} % interval{_how(self)} of every part lies within "
            f"{_room(self.margin, self.relative)} of the predicted number; refuted when that of one part, widened by "
            "Bonferroni over the parts, lies outside; else inconclusive."
        )

    def accepted(self, part: Part) -> tuple[float, float]:
        """Return the range of means of this part that the claim allows."""
        return _around(part, self.margin, self.relative)


@dataclass(frozen=True)
class Ordering:
    """The mean of paired differences, turned so that the claim says greater, exceeds a minimum in every part.

    No difference at all cannot refute "greater than 0"; a `minimum` above 0, the smallest difference that
    matters, lets a practically absent effect be refuted.

    Attributes:
        minimum: What the mean difference must exceed.
        level: Of the two-sided intervals; a wrong verdict has probability at most 1 - level.
        method: "t", or "bca" for skewed values: at least 10 units, and p-values down to about 0.005 only, so that
            few of its verdicts survive a correction over many claims.
    """

    minimum: float = 0.0
    level: float = 0.95
    method: str = "t"
    kind: ClassVar[str] = "ordering"

    def __post_init__(self) -> None:
        check_interval("minimum", self.minimum, -math.inf, math.inf, closed="neither")
        check_interval("level", self.level, 0, 1, closed="neither")
        check_choice("method", self.method, METHODS)

    def describe(self) -> str:
        """Return the rule in one sentence."""
        return (
            f"Supported when the {100 * self.level:.4g} % interval{_how(self)} of the paired difference lies above "
            f"{self.minimum:g} in every part; refuted when that of one part, widened by Bonferroni over the "
            "parts, lies below; else inconclusive."
        )

    def accepted(self, part: Part) -> tuple[float, float]:
        """Return the range of means of this part that the claim allows."""
        return self.minimum, math.inf


Rule = Identity | Equality | Ordering


def _how(rule: Equality | Ordering) -> str:
    return " (BCa bootstrap)" if rule.method == "bca" else ""


def _room(margin: float, relative: bool) -> str:
    return f"{100 * margin:g} %" if relative else f"{margin:g}"


def half_width(part: Part, margin: float, relative: bool) -> float:
    """Return the margin in absolute terms, refusing a part without prediction or a share of zero."""
    if part.predicted is None:
        raise ValueError(f"`predicted` must be given for the part {part.label!r}, got None.")
    if relative and part.predicted == 0:
        raise ValueError(f"`predicted` must not be 0 with a relative margin, got 0 in {part.label!r}.")
    return margin * abs(part.predicted) if relative else margin


def _around(part: Part, margin: float, relative: bool) -> tuple[float, float]:
    """Return predicted -+ margin."""
    half = half_width(part, margin, relative)
    assert part.predicted is not None
    return part.predicted - half, part.predicted + half


def rule_to_dict(rule: Rule) -> dict[str, Any]:
    """Return a rule as JSON says it: its kind and its numbers."""
    return {"kind": rule.kind, **dataclasses.asdict(rule)}


def rule_from_dict(record: dict[str, Any]) -> Rule:
    """Read what `rule_to_dict` wrote.

    Args:
        record: A kind and the fields of that rule, none missing and none more.

    Returns:
        The rule.

    Raises:
        ValueError: If the kind or a field is unknown or missing, or a number is outside its domain.

    Example:
        >>> rule_from_dict(rule_to_dict(Identity(1e-9)))
        Identity(tolerance=1e-09, relative=False)
    """
    if not isinstance(record, dict):
        raise ValueError(f"`record` must be a rule with its kind, got {record!r}.")
    rules: dict[str, type[Rule]] = {cls.kind: cls for cls in (Identity, Equality, Ordering)}
    cls = rules[check_choice("kind", record.get("kind"), rules)]
    wanted, given = {field.name for field in dataclasses.fields(cls)}, set(record) - {"kind"}
    if wanted != given:
        raise ValueError(f"`record` must have the fields {sorted(wanted)} for {cls.kind}, got {sorted(given)}.")
    return cls(**{name: record[name] for name in wanted})
