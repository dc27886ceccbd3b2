r"""Exact enumeration of a small mixed batch (every partner, every weight) and the derivation it supports."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import permutations, product
from math import lcm

import sympy as sp

from ._checks import check_choice
from .derivation import Derivation, Step
from .finite_batch import BATCH_PARTNERS, check_scheme

__all__ = ["derive_finite_batch_factor", "enumerate_partners", "enumerated_factor"]

# alpha with Var(lam) = 1/(4(2 alpha + 1)) a rational square: lam = 1/2 +- t has the first two moments of Beta(alpha,
# alpha), and the batch covariance is quadratic in the weights, so a two-point law enumerates its mean exactly.
_TWO_POINT = {Fraction(3, 2): Fraction(1, 4), Fraction(4): Fraction(1, 6)}
_EXAMPLES = (0, 1, 3, 7, 12)


def enumerate_partners(n: int, partner: str) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Yield the equally likely ways to pick both members of every pair of a batch.

    `flip` and `roll` are enumerated over all orders of the batch, which a shuffled loader makes equally likely.

    Args:
        n: Batch size, >= 2; even for `flip`. Keep it small: n! or n^n outcomes, n^(2n) for `resampled`.
        partner: One of `finite_batch.BATCH_PARTNERS`.

    Yields:
        Indices of the first members and of their partners, each of length n.

    Raises:
        ValueError: If the scheme is unknown or impossible.

    Example:
        >>> [second for first, second in enumerate_partners(3, "derangement")]
        [(1, 2, 0), (2, 0, 1)]
    """
    n, _ = check_scheme(n, partner)
    straight = tuple(range(n))
    if partner == "resampled":
        yield from product(product(straight, repeat=n), repeat=2)
    elif partner == "independent":
        yield from ((straight, second) for second in product(straight, repeat=n))
    elif partner in ("permutation", "derangement"):
        for second in permutations(straight):
            if partner == "permutation" or all(i != j for i, j in enumerate(second)):
                yield straight, second
    else:
        fixed = straight[::-1] if partner == "flip" else (n - 1, *straight[:-1])
        for order in permutations(straight):
            yield order, tuple(order[i] for i in fixed)


def enumerated_factor(x: Sequence[int], weights: Sequence[Fraction], partner: str, lam_per: str = "batch") -> Fraction:
    r"""Exact :math:`E[\tilde S]/\hat S` of one batch of whole numbers by enumeration, lam uniform on `weights`.

    Args:
        x: The batch, n >= 2 whole numbers, not all equal.
        weights: Equally likely values of lam.
        partner: One of `finite_batch.BATCH_PARTNERS`.
        lam_per: `batch`, `sample`, or `pair` (for `flip`).

    Returns:
        The factor, a fraction.

    Raises:
        ValueError: If the scheme is unknown or impossible.

    References:
        theory B.4.

    Example:
        >>> enumerated_factor([0, 1, 3], [Fraction(1, 2)], "derangement")
        Fraction(1, 4)
    """
    n, _ = check_scheme(len(x), partner, lam_per)
    draws = {"batch": 1, "sample": n, "pair": n // 2}[lam_per]
    spread_of = {
        "batch": lambda drawn: drawn * n,
        "sample": lambda drawn: drawn,
        "pair": lambda drawn: drawn + drawn[::-1],
    }[lam_per]
    unit = lcm(*(Fraction(w).denominator for w in weights))  # whole numbers throughout: many times faster
    lams = [spread_of(drawn) for drawn in product([int(w * unit) for w in weights], repeat=draws)]
    total, count = 0, 0
    for first, second in enumerate_partners(n, partner):
        own = [x[i] for i in first]
        other = [x[j] for j in second]
        for lam in lams:
            z = [w * a + (unit - w) * b for w, a, b in zip(lam, own, other, strict=True)]
            total += n * sum(v * v for v in z) - sum(z) ** 2
            count += 1
    return Fraction(total, unit**2 * count * (n * sum(v * v for v in x) - sum(x) ** 2))


def derive_finite_batch_factor(partner: str = "derangement", lam_per: str = "batch") -> Derivation:
    r"""Derive :math:`E[\tilde S]/\hat\Sigma` for one scheme, symbolic in n and alpha, and count small batches.

    Args:
        partner: One of `finite_batch.BATCH_PARTNERS`.
        lam_per: `batch`, `sample`, or `pair` (for `flip`).

    Returns:
        The derivation; its result is in the symbols n and alpha. Its last step is compared with full enumeration.

    Raises:
        ValueError: If the scheme is unknown or impossible.

    References:
        theory B.4.

    Example:
        >>> derive_finite_batch_factor("derangement").verify().result
        -alpha/((2*alpha + 1)*(n - 1)) + (alpha + 1)/(2*alpha + 1)
    """
    check_choice("partner", partner, BATCH_PARTNERS)
    check_scheme(2, partner, lam_per)
    n, alpha = sp.symbols("n alpha", positive=True)

    def mean(k: int, m: int) -> sp.Expr:
        return sp.beta(alpha + k, alpha + m) / sp.beta(alpha, alpha)

    no_self = partner in ("derangement", "flip", "roll")
    different = (0**2 - n) / (n * (n - 1))  # mean product of two different members, centred, unit variance
    self_pair = sp.Integer(0) if no_self else 1 / n
    correlation = -1 / (n - 1) if no_self else sp.Integer(0)
    s, lost = (alpha + 1) / (2 * alpha + 1), alpha / (2 * alpha + 1)
    variance = 1 / (4 * (2 * alpha + 1))
    spread_raw, spread, why = _batch_mean(partner, lam_per, mean, n, s, variance, correlation)

    def equation(left: sp.Expr, right: sp.Expr) -> sp.Eq:
        return sp.Eq(left, right, evaluate=False)  # sides that print alike would collapse to "true"

    steps = (
        Step(
            equation(self_pair + (1 - self_pair) * different, correlation),
            "correlation of the members: the centred examples sum to zero, so their products sum to -n",
        ),
        Step(
            equation(mean(2, 0) + mean(0, 2) + 2 * mean(1, 1) * correlation, s + lost * correlation),
            "second moment of one mixed example about the batch mean",
        ),
        Step(equation(spread_raw, spread), why),
        Step(
            equation(s + lost * correlation - spread_raw, s + lost * correlation - spread),
            "subtract the variance of the mixed batch mean",
            _cases(partner, lam_per, n, alpha),
        ),
    )
    given = (f"partner: {partner}", f"lam per {lam_per}, Beta(alpha, alpha)", "batch centred, of unit variance")
    return Derivation("The covariance of the mixed batch, expected given the batch.", given, steps)


def _batch_mean(
    partner: str,
    lam_per: str,
    mean: Callable[[int, int], sp.Expr],
    n: sp.Symbol,
    s: sp.Expr,
    variance: sp.Expr,
    correlation: sp.Expr,
) -> tuple[sp.Expr, sp.Expr, str]:
    """Return the variance of the mixed batch mean, from moments and in closed form, and why."""
    own = mean(2, 0) - mean(1, 0) ** 2
    if partner == "resampled":
        return (mean(2, 0) + mean(0, 2)) / n, s / n, "variance of the batch mean: n independent mixed examples"
    if partner == "independent":
        raw = (mean(0, 2) + (own if lam_per == "sample" else 0)) / n
        closed = (s / 2 + (variance if lam_per == "sample" else 0)) / n
        return raw, closed, "variance of the batch mean: n partners drawn with replacement"
    if lam_per == "sample":
        raw = own * (2 - 2 * correlation) / n
        return raw, 2 * variance * (1 - correlation) / n, "variance of the batch mean: n weights times x_i - x_j"
    return sp.Integer(0), sp.Integer(0), "the batch mean is preserved: the partners are a permutation"


def _cases(partner: str, lam_per: str, n: sp.Symbol, alpha: sp.Symbol) -> tuple[tuple[dict, sp.Basic], ...]:
    """Enumerate small batches for two values of alpha."""
    largest = {"resampled": 3, "independent": 4}.get(partner, 5)
    sizes = [size for size in range(2, largest + 1) if partner != "flip" or size % 2 == 0]
    cases = []
    for size in sizes:
        for value, t in _TWO_POINT.items():
            half = Fraction(1, 2)
            factor = enumerated_factor(_EXAMPLES[:size], (half - t, half + t), partner, lam_per)
            cases.append(({n: size, alpha: sp.Rational(value)}, sp.Rational(factor)))
    return tuple(cases)
