"""A derivation is a list of sympy steps that checks itself: each step must equal the one before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sympy as sp

__all__ = ["Derivation", "DerivationError", "Step"]


class DerivationError(AssertionError):
    """A step that does not follow from the one before; the message names it."""


@dataclass(frozen=True)
class Step:
    """One line of a derivation.

    Attributes:
        expression: A sympy expression, proved equal to the step before, or an equation `sp.Eq(lhs, rhs)`, proved
            by itself, after which the chain goes on with its right-hand side (write `evaluate=False`, or sympy
            shortens an equation it sees through to `true`).
        reason: Why the step holds, in words.
        cases: Exact results of enumeration, each a pair (substitutions, value); the expression must equal every
            value exactly. A step with cases starts a new chain: what was counted cannot be simplified.
    """

    expression: sp.Basic
    reason: str
    cases: tuple[tuple[dict, sp.Basic], ...] = ()


@dataclass(frozen=True)
class Derivation:
    """A claim, its assumptions, and the steps that lead to it.

    `verify` proves the chain with exact algebra: integrals and sums are evaluated, differences simplified to
    zero, enumerated cases compared exactly. A derivation whose end is only a third copy of the formula proves
    nothing, so the tests compare `result` with the shipped numeric function.

    Attributes:
        claim: What is shown, in one sentence.
        assumptions: Conditions under which it holds.
        steps: At least two steps, or one with cases or an equation.

    Example:
        >>> a = sp.symbols("a", positive=True)
        >>> t = sp.Symbol("t")
        >>> steps = (Step(sp.Integral(t, (t, 0, a)), "definition"), Step(a**2 / 2, "integrate"))
        >>> Derivation("The integral of t.", ("a > 0",), steps).verify().result
        a**2/2
    """

    claim: str
    assumptions: tuple[str, ...]
    steps: tuple[Step, ...]

    @property
    def result(self) -> sp.Expr:
        """The last expression (of an equation, its right-hand side)."""
        return _right(self.steps[-1].expression)

    def verify(self) -> Derivation:
        """Prove every step.

        Returns:
            The derivation itself, so that `derive_x().verify()` can be displayed.

        Raises:
            DerivationError: If nothing is proved at all, or a step fails; the message names it.
        """
        proved = 0
        previous: sp.Expr | None = None
        for number, step in enumerate(self.steps, start=1):
            for left, right, what in self._obligations(step, previous):
                if not _equal(left, right):
                    raise DerivationError(
                        f"Step {number} of {self.claim!r} ({step.reason}) fails{what}: "
                        f"{sp.sstr(left)} is not {sp.sstr(right)}."
                    )
                proved += 1
            previous = None if step.expression in (sp.true, sp.false) else _right(step.expression)
        if not proved:
            raise DerivationError(f"{self.claim!r} proves nothing: it needs two steps, an equation, or cases.")
        return self

    @staticmethod
    def _obligations(step: Step, previous: sp.Expr | None) -> Iterator[tuple[sp.Basic, sp.Basic, str]]:
        """Yield the pairs that must be equal for this step to stand."""
        for substitutions, value in step.cases:
            yield _right(step.expression).subs(substitutions), value, f" at {substitutions}"
        if step.expression in (sp.true, sp.false):  # sympy decided the equation while it was being written
            yield sp.Integer(step.expression == sp.true), sp.Integer(1), ""
        elif isinstance(step.expression, sp.Equality):
            yield step.expression.lhs, step.expression.rhs, ""
        elif not step.cases and previous is not None:
            yield previous, step.expression, ""

    def latex(self) -> str:
        """Return the chain as one aligned LaTeX block, a reason beside each line."""
        lines = []
        for number, step in enumerate(self.steps):
            if isinstance(step.expression, sp.Equality):
                body = f"{sp.latex(step.expression.lhs)} &= {sp.latex(step.expression.rhs)}"
            else:
                body = f"{'&=' if number else '&'} {sp.latex(step.expression)}"
            count = f" ({len(step.cases)} cases counted)" if step.cases else ""
            lines.append(f"{body} && \\text{{{step.reason}{count}}}")
        return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"

    def _repr_markdown_(self) -> str:
        given = "; ".join(self.assumptions)
        return f"**{self.claim}** Given: {given}.\n\n$$\n{self.latex()}\n$$"


def _right(expression: sp.Basic) -> sp.Expr:
    return expression.rhs if isinstance(expression, sp.Equality) else expression


def _equal(left: sp.Basic, right: sp.Basic) -> bool:
    """Decide exact equality: evaluate, then simplify the difference, with the gamma-function rewritings."""
    if isinstance(left, sp.MatrixBase) or isinstance(right, sp.MatrixBase):
        return left.shape == right.shape and all(_equal(a, b) for a, b in zip(left, right, strict=True))
    difference = (left.doit() - right.doit()).doit()
    for rewrite in (
        sp.expand,
        sp.simplify,
        lambda e: sp.gammasimp(sp.expand_func(e.rewrite(sp.gamma))),
        lambda e: sp.simplify(sp.expand_func(e)),
        lambda e: sp.simplify(sp.expand_func(e.rewrite(sp.exp))),
    ):
        try:
            if rewrite(difference) == 0:
                return True
        except (NotImplementedError, ValueError, AttributeError, TypeError):
            continue  # a rewriting that does not apply proves nothing
    return False
