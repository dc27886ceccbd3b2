"""The enumeration and the derivation of the finite-batch factors, tied to the shipped functions."""

from __future__ import annotations

from fractions import Fraction

import pytest
import sympy as sp
from enumerated_batches import SCHEMES

from mixup_theory.batch_enumeration import derive_finite_batch_factor, enumerate_partners, enumerated_factor
from mixup_theory.derivation import Derivation, DerivationError, Step
from mixup_theory.finite_batch import finite_batch_factor
from mixup_theory.laws import Fixed


@pytest.mark.parametrize(("partner", "lam_per"), SCHEMES)
def test_derivation_verifies_and_ends_in_the_shipped_function(partner, lam_per):
    result = derive_finite_batch_factor(partner, lam_per).verify().result
    n, alpha = sp.symbols("n alpha", positive=True)
    assert result.free_symbols <= {n, alpha}
    for size in (2, 4, 16, 128):
        for value in (0.05, 1.0, 3.7, 100.0):
            expected = float(result.subs({n: size, alpha: value}))
            assert finite_batch_factor(size, value, partner, lam_per) == pytest.approx(expected, rel=1e-12)


def test_a_wrong_factor_is_refused():
    derivation = derive_finite_batch_factor("derangement")
    last = derivation.steps[-1]
    wrong = sp.Eq(last.expression.lhs, last.expression.rhs * sp.Rational(1001, 1000), evaluate=False)
    broken = Derivation("wrong", (), (Step(wrong, last.reason, last.cases),))
    with pytest.raises(DerivationError, match="subtract"):
        broken.verify()


def test_counts_of_partners():
    counts = {partner: len(list(enumerate_partners(4, partner))) for partner in ("permutation", "derangement", "roll")}
    assert counts == {"permutation": 24, "derangement": 9, "roll": 24}
    assert len(list(enumerate_partners(2, "resampled"))) == 16
    assert len(list(enumerate_partners(3, "independent"))) == 27


def test_enumerated_factor_is_exact_for_a_fixed_weight():
    weight = Fraction(1, 3)
    got = enumerated_factor([0, 1, 3, 7], [weight], "permutation")
    assert got == Fraction(5, 9)
    assert float(got) == pytest.approx(finite_batch_factor(4, Fixed(1 / 3), "permutation"), rel=1e-14)


def test_bad_input():
    with pytest.raises(ValueError, match="one of"):
        derive_finite_batch_factor("nearest")
    with pytest.raises(ValueError, match="'flip'"):
        derive_finite_batch_factor("roll", "pair")
