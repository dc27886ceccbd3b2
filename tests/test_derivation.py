"""A derivation proves what it says and refuses what does not follow."""

from __future__ import annotations

import pytest
import sympy as sp

from mixup_theory.derivation import Derivation, DerivationError, Step

a, n = sp.symbols("alpha n", positive=True)


def chain(*expressions: object) -> Derivation:
    return Derivation("claim", ("none",), tuple(Step(e, f"reason {i}") for i, e in enumerate(expressions)))


def test_a_true_chain_passes_and_renders() -> None:
    t = sp.Symbol("t")
    derivation = chain(sp.Integral(t**a, (t, 0, 1)), 1 / (a + 1), (a + 2) / ((a + 1) * (a + 2))).verify()
    assert sp.simplify(derivation.result - 1 / (a + 1)) == 0
    text = derivation._repr_markdown_()
    assert "reason 1" in text
    assert text.count("$$") == 2


def test_gamma_functions_are_simplified() -> None:
    chain(sp.beta(a + 1, a + 1) / sp.beta(a, a), a / (2 * (2 * a + 1))).verify()


def test_a_wrong_step_is_named() -> None:
    with pytest.raises(DerivationError, match=r"Step 2 of 'claim' \(reason 1\) fails"):
        chain((a + 1) ** 2, a**2 + a + 1, a**2).verify()


def test_an_equation_must_hold_by_itself() -> None:
    chain(sp.Eq(sp.diff(a**3, a), 3 * a**2), 3 * a * a).verify()
    for wrong in (sp.Eq(a, a + 1), sp.Eq(a, a + 1, evaluate=False)):
        with pytest.raises(DerivationError, match="Step 1"):
            chain(wrong).verify()


def test_cases_are_compared_exactly() -> None:
    good = Step(n * (n + 1) / 2, "counted", cases=tuple(({n: k}, sp.Integer(sum(range(k + 1)))) for k in (2, 3, 4)))
    Derivation("sum", (), (good,)).verify()
    bad = Step(n**2, "counted", cases=(({n: 2}, sp.Integer(3)),))
    with pytest.raises(DerivationError, match=r"at \{n: 2\}"):
        Derivation("sum", (), (bad,)).verify()


def test_one_bare_step_proves_nothing() -> None:
    with pytest.raises(DerivationError, match="proves nothing"):
        chain(a).verify()


def test_matrices() -> None:
    left = sp.Matrix([[a, 1], [0, a]]) ** 2
    Derivation("square", (), (Step(left, "power"), Step(sp.Matrix([[a**2, 2 * a], [0, a**2]]), "multiply"))).verify()
