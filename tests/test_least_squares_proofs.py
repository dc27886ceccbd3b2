"""The derivations verify, and end in what the shipped functions compute."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from mixup_theory.derivation import Derivation, DerivationError, Step
from mixup_theory.least_squares import mixup_ols, mixup_ols_no_intercept, mixup_ridge
from mixup_theory.least_squares_proofs import (
    derive_ols_with_intercept,
    derive_ols_without_intercept,
    derive_ridge_amplification,
)

X, Y = np.array([0.3, -1.2, 2.5]), np.array([1.0, 0.25, -0.75])
DATA = {f"x{k + 1}": X[k] for k in range(3)} | {f"y{k + 1}": Y[k] for k in range(3)}


def value(derivation: Derivation, **more: float) -> float:
    known = DATA | more
    return float(derivation.result.subs({symbol: known[symbol.name] for symbol in derivation.result.free_symbols}))


def test_ols_with_an_intercept_is_unchanged() -> None:
    derivation = derive_ols_with_intercept().verify()
    assert {symbol.name for symbol in derivation.result.free_symbols} == set(DATA)  # no alpha
    for alpha in (0.01, 1.0, 30.0):
        assert value(derivation) == pytest.approx(mixup_ols(X[:, None], Y, alpha).slope[0], rel=1e-12)


@pytest.mark.parametrize("alpha", [1e-6, 0.4, 1.0, 1e5])
def test_ols_without_an_intercept_and_ridge_change(alpha: float) -> None:
    free, ridge = derive_ols_without_intercept().verify(), derive_ridge_amplification().verify()
    assert value(free, alpha=alpha) == pytest.approx(mixup_ols_no_intercept(X[:, None], Y, alpha).slope[0], rel=1e-10)
    for kappa in (0.01, 2.0):
        shipped = mixup_ridge(X[:, None], Y, alpha, kappa).slope[0]
        assert value(ridge, alpha=alpha, kappa=kappa) == pytest.approx(shipped, rel=1e-12)


def test_a_wrong_end_is_refused() -> None:
    ridge = derive_ridge_amplification()
    wrong = Derivation(
        ridge.claim, ridge.assumptions, (*ridge.steps[:-1], Step(ridge.result * sp.Rational(1001, 1000), "no"))
    )
    with pytest.raises(DerivationError, match="Step 2"):
        wrong.verify()
