"""A claim is a statement, its decision rule, and the verdict that rule reached; and which claims there must be."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mixup_theory._checks import check_choice
from mixup_theory.decision import VERDICTS, Decision
from mixup_theory.rules import Identity, Ordering, Rule, rule_from_dict, rule_to_dict

__all__ = [
    "CLAIM_IDS",
    "CLAIM_KINDS",
    "Claim",
    "check_claim_id",
    "interval_text",
    "missing_claims",
    "predicted_text",
]

# The claims of the textbook account and of the theory: notebook number, then kind of rule, then ids.
_REQUIRED = """
01 identity   lam-endpoints lam-half
01 equality   lam-sampler lam-max-harmless
02 identity   mean-preserved
02 equality   covariance-factor covariance-always covariance-one-lam
03 identity   label-average-gradient label-average-any-loss
03 equality   gradient-noise-pair gradient-noise-labels gradient-noise-sample gradient-noise-batch
04 identity   penalty-kinks penalty-oscillation
04 ordering   penalty-trained linear-between
05 equality   expansion-small-alpha expansion-order
06 identity   ols-unchanged
06 equality   mixture-temperature loss-floor confidence-cap
07 equality   circles-large-alpha
07 ordering   circles-small-alpha
08 ordering   erm-overfits middle-alpha-best large-alpha-underfits memorisation-falls
08 ordering   tamer-data-stabler-model variance-falls bias-rises overtraining-harms
09 ordering   annealing-beats-constant
09 equality   annealing-returns annealing-early-variance
10 ordering   manifold-flattens manifold-stronger
11 ordering   mixup-calibrates large-alpha-underconfident calibration-after-temperature
11 equality   calibration-averaging
12 ordering   privacy-mixup privacy-manifold
13 ordering   flatter-minima easier-optimisation
14 ordering   robust-one-step robust-iterated
14 identity   adversarial-radius
15 ordering   active-training active-selection
16 equality   published-cifar10
"""
_ROWS = [line.split() for line in _REQUIRED.strip().splitlines()]
CLAIM_IDS: dict[str, str] = {name: row[0] for row in _ROWS for name in row[2:]}
CLAIM_KINDS: dict[str, str] = {name: row[1] for row in _ROWS for name in row[2:]}

_DECLARED = ("id", "statement", "source", "rule", "unit", "correction", "notebook", "profile")


def check_claim_id(name: str, notebook: str, rule: Rule) -> str:
    """Return a claim's id after checking its form and, for a required one, its notebook and kind of rule.

    Args:
        name: Lower-case words joined by hyphens.
        notebook: The notebook's name, "NN-name".
        rule: Its decision rule.

    Returns:
        The id.

    Raises:
        ValueError: If the form is wrong, or a required claim is made elsewhere or decided by another kind.
    """
    words = name.split("-") if isinstance(name, str) else [""]
    if not all(word.isascii() and word.isalnum() and word == word.lower() for word in words):
        raise ValueError(f"`id` must be lower-case words joined by hyphens, got {name!r}.")
    if name in CLAIM_IDS:
        if not notebook.startswith(CLAIM_IDS[name] + "-"):
            raise ValueError(f"`id` {name!r} must be claimed in notebook {CLAIM_IDS[name]}, got {notebook!r}.")
        if rule.kind != CLAIM_KINDS[name]:
            raise ValueError(f"`rule` of {name!r} must be an {CLAIM_KINDS[name]}, got {rule.kind}.")
    return name


def missing_claims(present: Iterable[str], notebooks: Iterable[str]) -> list[str]:
    """Return the required ids of these notebooks that are not present, in the order of the notebooks.

    Args:
        present: The ids a ledger has.
        notebooks: Notebook names, "NN-name".

    Returns:
        Ids; empty when the ledger is complete for these notebooks.

    Example:
        >>> missing_claims(["lam-half", "lam-sampler", "lam-endpoints"], ["01-mixing-weight"])
        ['lam-max-harmless']
    """
    numbers, have = {name.split("-")[0] for name in notebooks}, set(present)
    return [name for name, number in CLAIM_IDS.items() if number in numbers and name not in have]


@dataclass(frozen=True)
class Claim:
    """One row of the ledger.

    Attributes:
        id: Its name, unique in a profile.
        statement: What is said, in one sentence.
        source: Who says it, and the section of the theory.
        rule: How it is decided.
        predicted: What the claim says of the headline part; None for an ordering without a prediction.
        measured: What was found there.
        interval: Of `measured`, at `level`; for an identity the range of the values.
        level: Of the interval; 1 for an identity.
        n: The number of units behind `measured`.
        unit: What one unit is, say "seeds".
        verdict: "supported", "refuted" or "inconclusive".
        correction: The statement that holds where this one does not.
        notebook: Where it is measured.
        profile: At which scale.
        part: The headline part.
        num_parts: How many parts the evidence has.
        num_holding: How many of them hold, each at its own level.
        num_failing: How many fail; the rest is open.
        p_value: Of the claim by itself; None for an identity.
        p_adjusted: After Holm's correction over the profile; None before it and for an identity.
        needed_n: For an inconclusive verdict the units that would do; None when no affordable number would.
        reason: The verdict explained in one sentence.
    """

    id: str
    statement: str
    source: str
    rule: Rule
    predicted: float | None
    measured: float
    interval: tuple[float, float]
    level: float
    n: int
    unit: str
    verdict: str
    correction: str
    notebook: str
    profile: str
    part: str
    num_parts: int
    num_holding: int
    num_failing: int
    p_value: float | None
    p_adjusted: float | None
    needed_n: int | None
    reason: str

    def __post_init__(self) -> None:
        check_choice("verdict", self.verdict, VERDICTS)

    @property
    def kind(self) -> str:
        """The kind of its rule: identity, equality or ordering."""
        return self.rule.kind

    @property
    def declared(self) -> dict[str, Any]:
        """What was stated before the numbers, as the keyword arguments of `Claim.of`."""
        return {name: getattr(self, name) for name in _DECLARED}

    @classmethod
    def of(cls, decision: Decision, *, p_adjusted: float | None = None, **declared: Any) -> Claim:
        """Join what was declared with what was decided.

        Args:
            decision: The outcome.
            p_adjusted: The p-value after Holm's correction, once there is one.
            **declared: id, statement, source, rule, unit, correction, notebook, profile.

        Returns:
            The claim.
        """
        rule: Rule = declared["rule"]
        return cls(
            **declared,
            predicted=decision.predicted,
            measured=decision.measured,
            interval=decision.interval,
            level=1.0 if isinstance(rule, Identity) else rule.level,
            n=decision.n,
            verdict=decision.verdict,
            part=decision.headline_part,
            num_parts=len(decision.parts),
            num_holding=sum(part.status == "holds" for part in decision.parts),
            num_failing=sum(part.status == "fails" for part in decision.parts),
            p_value=decision.p_value,
            p_adjusted=p_adjusted,
            needed_n=decision.needed_n,
            reason=decision.reason,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the claim as JSON says it."""
        record = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return record | {"rule": rule_to_dict(self.rule), "interval": list(self.interval), "kind": self.kind}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Claim:
        """Read what `to_dict` wrote.

        Args:
            record: The fields of a claim, and its kind.

        Returns:
            The claim.

        Raises:
            ValueError: If a field is missing or unknown, or the rule is not one.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(record, dict) or set(record) != names | {"kind"}:
            odd = names.symmetric_difference(record if isinstance(record, dict) else ()) - {"kind"}
            raise ValueError(f"`record` must have the fields of a Claim, got a difference in {sorted(odd)}.")
        fields = {name: record[name] for name in names}
        low, high = record["interval"]
        return cls(**fields | {"rule": rule_from_dict(record["rule"]), "interval": (low, high)})

    def predicted_text(self) -> str:
        """Return what the claim says of the headline part, with the room its rule leaves."""
        return predicted_text(self.rule, self.predicted)

    def measured_text(self) -> str:
        """Return what was measured, with interval (for an identity the gap), units and headline part."""
        parts = f"worst of {self.num_parts} parts"
        if self.verdict != "supported":
            parts = f"of {self.num_parts} parts {self.num_holding} hold, {self.num_failing} fail; worst"
        where = f"; {parts}: {self.part}" if self.num_parts > 1 else ""
        if self.kind == "identity":
            assert self.predicted is not None
            gap = abs(self.measured - self.predicted)
            return f"{self.measured:.4g}, gap {gap:.1e} ({self.n} {self.unit}{where})"
        return f"{interval_text(self.measured, self.interval)} ({self.n} {self.unit}{where})"


def predicted_text(rule: Rule, predicted: float | None) -> str:
    """Write what a claim says of one part, with the room its rule leaves: "0.667 ± 0.01", "> 0"."""
    if predicted is None:
        return f"> {rule.minimum:g}" if isinstance(rule, Ordering) else ""
    if isinstance(rule, Ordering):
        return f"> {rule.minimum:g} (theory: {predicted:.4g})"
    room, share = (rule.tolerance if isinstance(rule, Identity) else rule.margin), rule.relative
    return f"{predicted:.4g} ± {100 * room:.2g} %" if share else f"{predicted:.4g} ± {room:.2g}"


def interval_text(measured: float, interval: tuple[float, float]) -> str:
    """Write a number and its interval to two digits of the interval's width.

    Args:
        measured: The number.
        interval: Its lower and upper end.

    Returns:
        Text such as "0.667 [0.652, 0.681]".

    Example:
        >>> interval_text(0.66671, (0.65234, 0.68103)), interval_text(12345.0, (12000.0, 12700.0))
        ('0.667 [0.652, 0.681]', '12345 [12000, 12700]')
    """
    width, size = interval[1] - interval[0], max(abs(measured), abs(interval[0]), abs(interval[1]))
    if width <= 0 or width < 1e-9 * size:
        return f"{measured:.6g} [{interval[0]:.6g}, {interval[1]:.6g}]"
    if size < 1e-3 or size >= 1e6:
        digits = max(1, math.floor(math.log10(size)) - math.floor(math.log10(width)) + 1)
        return f"{measured:.{digits}e} [{interval[0]:.{digits}e}, {interval[1]:.{digits}e}]"
    decimals = max(0, 1 - math.floor(math.log10(width)))
    return f"{measured:.{decimals}f} [{interval[0]:.{decimals}f}, {interval[1]:.{decimals}f}]"
