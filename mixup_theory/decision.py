"""When evidence supports a claim, when it refutes it, when it decides nothing, and how much would."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

from mixup_theory.mean_test import MAX_UNITS, ConstantUnits, MeanTest, mean_test, miss_probability, smallest_n
from mixup_theory.rules import Equality, Identity, Ordering, Part, Rule, half_width

__all__ = [
    "POWER",
    "VERDICTS",
    "Decision",
    "Equality",
    "Identity",
    "Ordering",
    "Part",
    "PartResult",
    "Rule",
    "decide",
]

VERDICTS = ("supported", "refuted", "inconclusive")
POWER = 0.8  # the chance to decide that "how many units would do" is computed for


@dataclass(frozen=True)
class PartResult:
    """One line of the evidence: a part, its mean and interval, and whether it holds, fails or is open."""

    label: str
    predicted: float | None
    mean: float
    interval: tuple[float, float]
    n: int
    status: str


@dataclass(frozen=True)
class Decision:
    """The verdict, and the part that says most about it: the weakest one, or the one that refutes.

    Attributes:
        verdict: "supported", "refuted" or "inconclusive".
        predicted: What the claim says of the headline part; None for an ordering without a prediction.
        measured: The mean of the headline part; for an identity the value with the largest gap.
        interval: Of that mean at the rule's level; for an identity the range of the part's values.
        n: The number of units of the headline part; for an identity the number of all values.
        p_value: Two-sided and directional: at most 1 - level when the verdict is not inconclusive. None for
            an identity.
        needed_n: For an inconclusive verdict, the units that would decide with power 0.8 if the means and
            spreads seen were the true ones; None when no number up to 100000 would.
        headline_part: Its label.
        reason: The verdict explained in one sentence.
        parts: Every part, in the order given.
    """

    verdict: str
    predicted: float | None
    measured: float
    interval: tuple[float, float]
    n: int
    p_value: float | None
    needed_n: int | None
    headline_part: str
    reason: str
    parts: tuple[PartResult, ...]


def decide(rule: Rule, parts: Sequence[Part], *, multiplicity: float = 1) -> Decision:
    r"""Apply a rule to the evidence.

    With :math:`P` parts, one-sided p-values :math:`s_k` that part k lies in the accepted range (two one-sided
    tests) and :math:`r_k` that it lies outside,

    .. math:: p_{+} = 2 \max_k s_k, \qquad p_{-} = 2 P \min_k r_k, \qquad p = \min(p_+, p_-, 1),

    the claim is supported when :math:`p_+ \le \epsilon`, refuted when :math:`p_- \le \epsilon`, with
    :math:`\epsilon = (1 - \mathrm{level}) / \mathrm{multiplicity}`. The factor 2 pays for the two directions.

    A part whose values do not vary at all is open: without a spread it can neither hold nor fail.

    Assumptions: units are independent; for `t` normal, or enough of them.

    Args:
        rule: Identity, Equality or Ordering, fixed before the data.
        parts: At least one, with different labels; at least two units each, unless the rule is Identity.
        multiplicity: Divides the error allowed, >= 1: 1 for one claim by itself, more under Holm's correction.

    Returns:
        The decision with its evidence.

    Raises:
        ValueError: If there is no part, a label comes twice, or the values cannot be judged (which part and why).

    References:
        Schuirmann 1987 (two one-sided tests); Berger 1982 (all parts); Shaffer 1980 (directional errors).

    Example:
        >>> parts = [Part.of("alpha = 1", [0.66, 0.67, 0.668, 0.665], predicted=2 / 3)]
        >>> decide(Equality(margin=0.02), parts).verdict
        'supported'
    """
    parts = [Part.of(part.label, part.values, part.predicted) for part in parts]
    labels = [part.label for part in parts]
    if not labels or len(set(labels)) < len(labels):
        raise ValueError(f"`parts` must be one or more parts with different labels, got {labels}.")
    if isinstance(rule, Identity):
        return _decide_identity(rule, parts)
    tests: list[MeanTest | None] = []
    for part in parts:
        try:
            tests.append(mean_test(part.values, rule.method))
        except ConstantUnits:
            tests.append(None)  # nothing is known of the spread: this part can neither hold nor fail
        except ValueError as error:
            raise ValueError(f"Part {part.label!r}: {error}") from None
    ranges = [rule.accepted(part) for part in parts]
    inside = [max(t.p_greater(low), t.p_less(high)) if t else 1.0 for t, (low, high) in zip(tests, ranges, strict=True)]
    outside = [
        min(t.p_less(low), t.p_greater(high)) if t else 1.0 for t, (low, high) in zip(tests, ranges, strict=True)
    ]
    p_support, p_refute = 2 * max(inside), 2 * len(tests) * min(outside)
    allowed = (1 - rule.level) / multiplicity
    needed: int | None = None
    if p_support <= allowed:
        verdict, head = "supported", inside.index(max(inside))
        reason = "Every part lies inside what the claim allows."
    elif p_refute <= allowed:
        verdict, head = "refuted", outside.index(min(outside))
        reason = f"The part {labels[head]!r} lies outside what the claim allows."
    else:
        verdict, head = "inconclusive", inside.index(max(inside))
        needed = _needed_n(
            [test for test in tests if test], [r for t, r in zip(tests, ranges, strict=True) if t], allowed
        )
        most = max(len(part.values) for part in parts)
        needed = None if needed is None or tests[head] is None else max(needed, most + 1)
        more = f"about {needed}" if needed else f"more than {MAX_UNITS}"
        reason = (
            f"The part {labels[head]!r} is open at a two-sided error of {allowed:.2g}; with the mean and the "
            f"spread seen, {more} units would decide with power {POWER}."
            if tests[head]
            else f"The part {labels[head]!r} is open: its values do not vary, so nothing is known of their spread."
        )
    results = []
    for part, test, good, bad in zip(parts, tests, inside, outside, strict=True):
        status = "holds" if 2 * good <= allowed else "fails" if 2 * len(tests) * bad <= allowed else "open"
        mean, interval = (test.mean, test.interval(rule.level)) if test else (part.values[0], (part.values[0],) * 2)
        results.append(PartResult(part.label, part.predicted, mean, interval, len(part.values), status))
    headline = results[head]
    return Decision(
        verdict,
        headline.predicted,
        headline.mean,
        headline.interval,
        headline.n,
        min(p_support, p_refute, 1.0),
        needed,
        headline.label,
        reason,
        tuple(results),
    )


def _needed_n(tests: list[MeanTest], ranges: list[tuple[float, float]], allowed: float) -> int | None:
    """Return the units that decide with the stated power in the direction the means point to."""
    half, pairs = allowed / 2, list(zip(tests, ranges, strict=True))
    if not pairs:
        return None
    out = [(t, low, -1) if t.mean < low else (t, high, 1) for t, (low, high) in pairs if not low <= t.mean <= high]
    if not out:  # every bound of every part must be passed: the misses add up
        misses = [
            partial(_miss, t, x, half, side) for t, bounds in pairs for x, side in zip(bounds, (1, -1), strict=True)
        ]
        found = smallest_n(misses, 1 - POWER)
    else:  # one part is enough to refute
        each = [smallest_n([partial(_miss, t, x, half / len(pairs), side)], 1 - POWER) for t, x, side in out]
        found = min((n for n in each if n is not None), default=None)
    return found


def _miss(test: MeanTest, x: float, error: float, side: int, n: int) -> float:
    return miss_probability(test, x, n, error, side)


def _decide_identity(rule: Identity, parts: Sequence[Part]) -> Decision:
    """Compare every value with its prediction; the headline is the largest gap in units of the tolerance."""
    results, worst, measured, head = [], -1.0, math.nan, 0
    for index, part in enumerate(parts):
        half, centre = half_width(part, rule.tolerance, rule.relative), cast("float", part.predicted)
        gaps = [abs(value - centre) for value in part.values]
        far = part.values[gaps.index(max(gaps))]
        gap = max(gaps) / half
        if gap > worst:
            worst, measured, head = gap, far, index
        mean, span = math.fsum(part.values) / len(part.values), (min(part.values), max(part.values))
        status = "holds" if gap <= 1 else "fails"
        results.append(PartResult(part.label, part.predicted, mean, span, len(part.values), status))
    headline = results[head]
    verdict = "supported" if worst <= 1 else "refuted"
    where = "The largest gap" if verdict == "supported" else "A gap outside the tolerance"
    reason = f"{where} is {abs(measured - cast('float', headline.predicted)):.2g}, in the part {headline.label!r}."
    total = sum(result.n for result in results)
    return Decision(
        verdict,
        headline.predicted,
        measured,
        headline.interval,
        total,
        None,
        None,
        headline.label,
        reason,
        tuple(results),
    )
