"""The ledger of a profile: every notebook's claims, corrected for their number, and recomputable from rows."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mixup_theory._files import write_json_atomic
from mixup_theory.claims import Claim
from mixup_theory.decision import Decision, decide
from mixup_theory.recorder import CLAIMS_FILE, EVIDENCE_FILE, parts_of, table_cell
from mixup_theory.rules import Identity, Part, Rule

__all__ = [
    "LEDGER_FILE",
    "Ledger",
    "collect",
    "holm",
    "markdown_table",
    "read_ledger",
    "recompute",
    "refuted_markdown",
    "write_ledger",
]

LEDGER_FILE = "ledger.json"
_ROUNDING = 1e-7  # another machine's libraries may round the same formula differently; a verdict never may


@dataclass(frozen=True)
class Ledger:
    """The claims of a profile with their final verdicts.

    Attributes:
        profile: The scale.
        claims: In the order of the notebooks, and in each as declared.
        holm: What the correction did: the divisor of the error left to undecided claims, p-values and verdicts.
    """

    profile: str
    claims: tuple[Claim, ...]
    holm: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the ledger as JSON says it."""
        return {"profile": self.profile, "claims": [claim.to_dict() for claim in self.claims], "holm": self.holm}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Ledger:
        """Read what `to_dict` wrote."""
        claims = tuple(Claim.from_dict(claim) for claim in record["claims"])
        return cls(record["profile"], claims, record["holm"])


def holm(p_values: Sequence[float]) -> list[float]:
    r"""Return Holm's adjusted p-values.

    With :math:`p_{(1)} \le \dots \le p_{(m)}`,

    .. math:: \tilde p_{(i)} = \max_{j \le i} \min\{1, (m - j + 1)\, p_{(j)}\}.

    Deciding where :math:`\tilde p \le \epsilon` keeps the probability of any false rejection at
    :math:`\epsilon` whatever the dependence; that of any verdict in the wrong direction is kept, with the
    two-sided p-values of `decide`, for independent claims.

    Args:
        p_values: Of the claims of one profile, each in [0, 1]; may be empty.

    Returns:
        The adjusted values, in the order given.

    References:
        Holm 1979; Shaffer 1980 (directions).

    Example:
        >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    if not len(p_values):
        return []
    from statsmodels.stats.multitest import multipletests  # a second of import that --list should not pay

    return [float(p) for p in multipletests(p_values, method="holm")[1]]


def collect(results_dir: str | os.PathLike[str], notebooks: Iterable[str] | None = None) -> Ledger:
    """Decide every claim of a profile again from its stored rows, then correct for their number.

    A claim supported or refuted by itself that does not survive Holm's correction over the empirical claims
    (equality and ordering) becomes inconclusive, with the number of units that would do under the correction.

    Args:
        results_dir: `results/<profile>`, with one folder per notebook.
        notebooks: The folders to read; by default every one that has claims.

    Returns:
        The ledger; `write_ledger` stores it.

    Raises:
        ValueError: If a file is damaged or missing, an id comes twice, or the profiles differ.
    """
    claims = _read_notebooks(Path(results_dir), notebooks)
    profiles, ids = {claim.profile for claim, _ in claims}, [claim.id for claim, _ in claims]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise ValueError(f"`results_dir` must have each claim once, got {', '.join(twice)} in two notebooks.")
    if len(profiles) > 1:
        raise ValueError(f"`results_dir` must hold one profile, got {', '.join(sorted(profiles))}.")
    profile = profiles.pop() if profiles else Path(results_dir).name
    alone = [(claim, parts, decide(claim.rule, parts)) for claim, parts in claims]
    return _corrected(profile, alone)


def _corrected(profile: str, alone: Sequence[tuple[Claim, Sequence[Part], Decision]]) -> Ledger:
    """Apply Holm's correction to claims decided by themselves."""
    empirical = [(claim.id, decision.p_value) for claim, _, decision in alone if decision.p_value is not None]
    adjusted = dict(zip([name for name, _ in empirical], holm([p for _, p in empirical]), strict=True))
    survivors = {c.id for c, _, d in alone if d.verdict != "inconclusive" and _survives(c.rule, adjusted.get(c.id))}
    # An undecided claim is the next to be rejected as soon as its p-value is below error / multiplicity.
    multiplicity = max(1, len(empirical) - sum(name in survivors for name in adjusted))
    claims, table = [], {}
    for claim, parts, decision in alone:
        p_value, p_adjusted, final = decision.p_value, adjusted.get(claim.id), decision
        if p_value is not None and p_adjusted is not None and claim.id not in survivors:
            # The second divisor matters only where claims of different levels meet.
            final = decide(claim.rule, parts, multiplicity=max(multiplicity, p_adjusted / p_value))
        claims.append(Claim.of(final, p_adjusted=p_adjusted, **claim.declared))
        if claim.id in adjusted:
            table[claim.id] = {
                "p_value": p_value,
                "p_adjusted": p_adjusted,
                "verdict_before": decision.verdict,
                "verdict": final.verdict,
            }
    summary = {"method": "holm", "num_claims": len(empirical), "multiplicity": multiplicity, "claims": table}
    return Ledger(profile, tuple(claims), summary)


def _survives(rule: Rule, p_adjusted: float | None) -> bool:
    return isinstance(rule, Identity) or (p_adjusted is not None and p_adjusted <= 1 - rule.level)


def _read_notebooks(results_dir: Path, notebooks: Iterable[str] | None) -> list[tuple[Claim, list[Part]]]:
    """Read the claims and the parts of every notebook of a profile."""
    if notebooks is None:
        folders = sorted(path.parent for path in results_dir.glob(f"*/{CLAIMS_FILE}"))
    else:
        folders = sorted(results_dir / name for name in notebooks)
    return [pair for folder in folders for pair in _read_notebook(folder)]


def _read_notebook(folder: Path) -> list[tuple[Claim, list[Part]]]:
    """Read one notebook's claims with the parts each was decided from."""
    path = folder / CLAIMS_FILE
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        claims = [Claim.from_dict(claim) for claim in record["claims"]]
        path = folder / EVIDENCE_FILE
        parts = parts_of(pd.read_parquet(path))
    except FileNotFoundError:
        raise ValueError(f"`results_dir` must have {path}, which is missing. Run that notebook again.") from None
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ValueError(f"`results_dir` has a damaged file, {path}: {error}. Run that notebook again.") from error
    named = [claim.id for claim in claims]
    if sorted(named) != sorted(parts):
        odd = sorted(set(named).symmetric_difference(parts))
        raise ValueError(f"`results_dir` must have rows for every claim, got a difference in {odd} in {folder}.")
    return [(claim, parts[claim.id]) for claim in claims]


def write_ledger(ledger: Ledger, results_dir: str | os.PathLike[str]) -> Path:
    """Write `ledger.json` into the folder of the profile, whole or not at all; return its path."""
    return write_json_atomic(Path(results_dir) / LEDGER_FILE, ledger.to_dict())


def read_ledger(results_dir: str | os.PathLike[str]) -> Ledger:
    """Read `ledger.json` from the folder of a profile.

    Args:
        results_dir: `results/<profile>`.

    Returns:
        The ledger as stored.

    Raises:
        ValueError: If the file is missing or damaged.
    """
    path = Path(results_dir) / LEDGER_FILE
    try:
        return Ledger.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ValueError(f"`results_dir` must have {path}, which is missing. Run the suite first.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"`results_dir` has a damaged file, {path}: {error}. Run the suite again.") from error


def recompute(results_dir: str | os.PathLike[str]) -> list[str]:
    """Compare what is stored with what the stored rows say; nothing is run and nothing is written.

    Args:
        results_dir: `results/<profile>`.

    Returns:
        One sentence per difference: a field of a claim in `claims.json` or `ledger.json`, a claim in one of them
        only, a file that is missing or damaged. Empty when every number and every verdict is confirmed.
    """
    folder = Path(results_dir)
    try:
        stored, pairs, fresh = read_ledger(folder), _read_notebooks(folder, None), collect(folder)
    except ValueError as error:
        return [str(error)]
    differences = []
    for claim, parts in pairs:
        again = Claim.of(decide(claim.rule, parts), **claim.declared)
        differences += _compare(f"{claim.notebook}/{CLAIMS_FILE}", claim, again)
    old, new = ({claim.id: claim for claim in ledger.claims} for ledger in (stored, fresh))
    if len(old) < len(stored.claims):
        differences.append(f"{LEDGER_FILE}: a claim comes twice.")
    for name in sorted(old.keys() ^ new.keys()):
        differences.append(f"{LEDGER_FILE}: {name} is {'not in any notebook' if name in old else 'missing'}.")
    for name in old.keys() & new.keys():
        differences += _compare(LEDGER_FILE, old[name], new[name])
    if not _same(stored.holm, fresh.holm) or stored.profile != fresh.profile:
        differences.append(f"{LEDGER_FILE}: the profile or the record of Holm's correction differs from the rows.")
    return differences


def _compare(where: str, stored: Claim, again: Claim) -> list[str]:
    """Name every field in which two claims differ."""
    old, new = stored.to_dict(), again.to_dict()
    return [
        f"{where}: {stored.id}: `{name}` is {old[name]!r}, the stored rows give {new[name]!r}."
        for name in old
        if not _same(old[name], new[name])
    ]


def _same(old: Any, new: Any) -> bool:
    """Compare two JSON values, numbers up to rounding."""
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() == new.keys() and all(_same(old[key], new[key]) for key in old)
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_same, old, new))
    if isinstance(old, float) and isinstance(new, float):
        return math.isclose(old, new, rel_tol=_ROUNDING, abs_tol=1e-300)
    return type(old) is type(new) and old == new


def markdown_table(ledger: Ledger, link: str = "results/{profile}/{notebook}/executed.ipynb") -> str:
    """Write the ledger as the README shows it: one row per claim, every word of it from the data.

    Args:
        ledger: The ledger.
        link: The address of an executed notebook, seen from where the table stands.

    Returns:
        A Markdown table that ends in a line break.
    """
    lines = ["| claim | predicted | measured with interval (n) | verdict | notebook |", "|---|---|---|---|---|"]
    for claim in ledger.claims:
        verdict = "inconclusive" if claim.verdict == "inconclusive" else f"**{claim.verdict}**"
        if claim.needed_n:
            verdict += f", about {claim.needed_n} {claim.unit} would decide"
        target = link.format(profile=ledger.profile, notebook=claim.notebook)
        cells = [
            f"`{claim.id}` {claim.statement}",
            claim.predicted_text(),
            claim.measured_text(),
            verdict,
            f"[{claim.notebook[:2]}]({target})",
        ]
        lines.append("| " + " | ".join(map(table_cell, cells)) + " |")
    return "\n".join(lines) + "\n"


def refuted_markdown(ledger: Ledger) -> str:
    """Write the refuted claims of a ledger as a Markdown list, each with the statement that holds instead."""
    lines = [
        f"- `{claim.id}` {claim.statement} Measured {claim.measured_text()}, said {claim.predicted_text()}."
        + (f" **Instead:** {claim.correction}" if claim.correction else "")
        for claim in ledger.claims
        if claim.verdict == "refuted"
    ]
    return "\n".join(lines) + "\n" if lines else "No claim was refuted.\n"
