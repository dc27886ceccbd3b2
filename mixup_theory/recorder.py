"""What a notebook calls: declare a claim before the numbers, hand in the evidence, show the verdict, save."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from mixup_theory._files import write_json_atomic, write_parquet_atomic
from mixup_theory.claims import Claim, check_claim_id, interval_text, predicted_text
from mixup_theory.decision import Decision, PartResult, decide
from mixup_theory.rules import Identity, Part, Rule

__all__ = [
    "CLAIMS_FILE",
    "EVIDENCE_COLUMNS",
    "EVIDENCE_FILE",
    "Declared",
    "Recorder",
    "Verdict",
    "parts_of",
    "table_cell",
]

CLAIMS_FILE = "claims.json"
EVIDENCE_FILE = "evidence.parquet"
EVIDENCE_COLUMNS = ("claim", "part", "unit", "predicted", "value")
_MAX_SHOWN = 12


@dataclass(frozen=True)
class Declared:
    """A claim before its numbers; a notebook shows it as text."""

    id: str
    statement: str
    source: str
    rule: Rule

    def _repr_markdown_(self) -> str:
        return (
            f"**Claim `{self.id}`** ({self.source}): {self.statement}\n\n"
            f"*Decision rule, fixed before any number ({self.rule.kind}):* {self.rule.describe()}"
        )


@dataclass(frozen=True)
class Verdict:
    """A claim with its decision; a notebook shows rule, evidence and verdict, all from the data."""

    claim: Claim
    decision: Decision

    def _repr_markdown_(self) -> str:
        claim, decision = self.claim, self.decision
        holm = "" if claim.kind == "identity" else " (before Holm's correction over the profile)"
        shown = _most_telling(decision)
        span = "range" if claim.kind == "identity" else f"{100 * claim.level:.4g} % interval"
        lines = [
            f"**`{claim.id}`: {claim.verdict}**{holm}. {claim.statement}",
            "",
            f"*Rule ({claim.kind}):* {claim.rule.describe()}",
            "",
            f"| part | predicted | measured [{span}] | {claim.unit} | |",
            "|---|---|---|---|---|",
        ]
        for part in shown:
            predicted, measured = predicted_text(claim.rule, part.predicted), interval_text(part.mean, part.interval)
            lines.append(f"| {table_cell(part.label)} | {predicted} | {measured} | {part.n} | {part.status} |")
        left = len(decision.parts) - len(shown)
        if left:
            worst = f"none is further from holding than {decision.headline_part!r}"
            lines += ["", f"{left} more parts are in `{EVIDENCE_FILE}`; {worst}."]
        p_value = "" if claim.p_value is None else f" p = {claim.p_value:.2g}."
        lines += ["", f"*Verdict:* **{claim.verdict}**.{p_value} {claim.reason}"]
        if claim.verdict == "refuted":
            lines += ["", f"*What holds instead:* {claim.correction or 'no corrected statement was declared.'}"]
        return "\n".join(lines)


def table_cell(text: str) -> str:
    """Return text that does not end a cell of a Markdown table."""
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split()))


def _most_telling(decision: Decision) -> list[PartResult]:
    """Choose the parts to show, in their order: the headline, then failing, open, and holding ones."""
    rank = {"fails": 1, "open": 2, "holds": 3}
    order = sorted(
        range(len(decision.parts)),
        key=lambda i: (
            0 if decision.parts[i].label == decision.headline_part else rank[decision.parts[i].status],
            i,
        ),
    )
    return [decision.parts[i] for i in sorted(order[:_MAX_SHOWN])]


class Recorder:
    """The claims of one notebook, from declaration to files.

    Args:
        notebook: Its name, "NN-name".
        profile: The scale it runs at.
        output_dir: Where `save` writes.

    Raises:
        ValueError: If a name is not of this form.

    Example:
        >>> from mixup_theory.rules import Ordering
        >>> record = Recorder(notebook="90-example", profile="quick", output_dir="unused")
        >>> _ = record.claim("a-beats-b", statement="A beats B.", source="nobody", rule=Ordering())
        >>> record.evidence("a-beats-b", "accuracy", [0.012, 0.015, 0.011, 0.013])
        >>> record.decide("a-beats-b").claim.verdict
        'supported'
    """

    def __init__(self, *, notebook: str, profile: str, output_dir: str | os.PathLike[str]) -> None:
        if not isinstance(notebook, str) or not re.fullmatch(r"\d\d-[a-z0-9-]+", notebook):
            raise ValueError(f"`notebook` must be a name such as '02-covariance-shrinkage', got {notebook!r}.")
        if not isinstance(profile, str) or not re.fullmatch(r"[a-z0-9_-]+", profile):
            raise ValueError(f"`profile` must be a name such as 'quick', got {profile!r}.")
        self.notebook, self.profile, self.output_dir = notebook, profile, Path(output_dir)
        self._declared: dict[str, dict[str, Any]] = {}
        self._evidence: dict[str, dict[str, tuple[Part, tuple[str, ...]]]] = {}

    def claim(
        self, id: str, *, statement: str, source: str, rule: Rule, unit: str | None = None, correction: str = ""
    ) -> Declared:
        """Declare a claim, before any number of it is computed; declaring it again starts it over.

        Args:
            id: Its name; a required one (`CLAIM_IDS`) keeps its notebook and its kind of rule.
            statement: What is said, one sentence, as it is said.
            source: Who says it and the section of the theory.
            rule: Identity, Equality or Ordering.
            unit: What one independent value is, in the plural; "seeds" by default, "checks" for an identity.
            correction: The statement that holds, shown where this one is refuted.

        Returns:
            The declaration, for the notebook to show.

        Raises:
            ValueError: If a text is missing, or the id or the rule does not fit.
        """
        if not isinstance(rule, Rule):
            raise ValueError(f"`rule` must be an Identity, Equality or Ordering, got {rule!r}.")
        check_claim_id(id, self.notebook, rule)
        unit = ("checks" if isinstance(rule, Identity) else "seeds") if unit is None else unit
        for name, text in (("statement", statement), ("source", source), ("unit", unit)):
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"`{name}` of {id!r} must be a non-empty text, got {text!r}.")
        self._declared[id] = {
            "id": id,
            "statement": statement,
            "source": source,
            "rule": rule,
            "unit": unit,
            "correction": correction,
            "notebook": self.notebook,
            "profile": self.profile,
        }
        self._evidence[id] = {}
        return Declared(id, statement, source, rule)

    def evidence(
        self,
        id: str,
        part: str,
        values: ArrayLike,
        predicted: float | None = None,
        units: Sequence[object] | None = None,
    ) -> None:
        """Hand in one part of a claim's evidence.

        Args:
            id: A declared claim.
            part: What tells this part from the others, say "alpha = 0.4".
            values: One number per independent unit, never per epoch or example of one run.
            predicted: The number the claim says.
            units: Names of the units, all different; 0, 1, ... by default.

        Raises:
            ValueError: If the claim is not declared, the part was given before with other numbers, a value is not
                finite, or the units do not match the values.
        """
        self._require(id)
        new = Part.of(part, values, predicted)
        names = tuple(map(str, range(len(new.values)) if units is None else units))
        if len(names) != len(new.values) or len(set(names)) < len(names):
            raise ValueError(f"`units` of {part!r} must be {len(new.values)} different names, got {list(names)}.")
        self._declared[id]["rule"].accepted(new)  # refuses a missing prediction, or a share of zero, at once
        if self._evidence[id].get(part, (new, names)) != (new, names):
            raise ValueError(
                f"`part` must be new, got {part!r} again with other numbers. Run the cell that declares {id!r} first."
            )
        self._evidence[id][part] = (new, names)

    def decide(self, id: str) -> Verdict:
        """Apply the rule of a claim to its evidence; the result shows itself in a notebook."""
        self._require(id)
        if not self._evidence[id]:
            raise ValueError(f"`id` must have evidence before it is decided, got none for {id!r}.")
        declared = self._declared[id]
        decision = decide(declared["rule"], [part for part, _ in self._evidence[id].values()])
        return Verdict(Claim.of(decision, **declared), decision)

    def save(self) -> Path:
        """Decide every declared claim and write `evidence.parquet`, then `claims.json`; return the latter."""
        claims = [self.decide(id).claim.to_dict() for id in self._declared]
        write_parquet_atomic(self.output_dir / EVIDENCE_FILE, _frame(self._evidence))
        # Written last: claims without their rows are never seen.
        record = {"notebook": self.notebook, "profile": self.profile, "claims": claims}
        return write_json_atomic(self.output_dir / CLAIMS_FILE, record)

    def _require(self, id: str) -> None:
        if id not in self._declared:
            raise ValueError(f"`id` must be one of the declared claims {list(self._declared)}, got {id!r}.")


def _frame(evidence: Mapping[str, Mapping[str, tuple[Part, tuple[str, ...]]]]) -> pd.DataFrame:
    """Lay the evidence out as one row per claim, part and unit."""
    rows = [
        (claim, part.label, unit, np.nan if part.predicted is None else part.predicted, value)
        for claim, parts in evidence.items()
        for part, units in parts.values()
        for unit, value in zip(units, part.values, strict=True)
    ]
    frame = pd.DataFrame(rows, columns=list(EVIDENCE_COLUMNS))
    return frame.astype({"claim": str, "part": str, "unit": str, "predicted": float, "value": float})


def parts_of(frame: pd.DataFrame) -> dict[str, list[Part]]:
    """Read the parts of every claim back from the rows of `evidence.parquet`.

    Args:
        frame: Columns claim, part, unit, predicted, value.

    Returns:
        The parts of each claim, in the order they were handed in.

    Raises:
        ValueError: If a column is missing, a value is not finite, or the rows of a part disagree on its prediction.
    """
    if set(frame.columns) != set(EVIDENCE_COLUMNS):
        raise ValueError(f"`frame` must have the columns {list(EVIDENCE_COLUMNS)}, got {list(frame.columns)}.")
    parts: dict[str, list[Part]] = {}
    for (claim, label), rows in frame.groupby(["claim", "part"], sort=False):
        predicted = rows["predicted"].iloc[0]
        if rows["predicted"].nunique(dropna=False) > 1:
            raise ValueError(f"`predicted` must be one number in part {label!r} of {claim!r}, got several.")
        values = rows["value"].to_numpy()
        parts.setdefault(claim, []).append(Part.of(label, values, None if np.isnan(predicted) else float(predicted)))
    return parts
