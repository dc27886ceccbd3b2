"""Least squares under mixup, derived from the enumerated pairs of three arbitrary examples."""

from __future__ import annotations

import sympy as sp

from .derivation import Derivation, Step

__all__ = ["derive_ols_with_intercept", "derive_ols_without_intercept", "derive_ridge_amplification"]


def derive_ols_with_intercept() -> Derivation:
    """Derive that the mixup minimiser with an intercept is OLS, for three arbitrary examples and every alpha.

    Returns:
        The derivation; its result is the OLS slope in x1, x2, x3, y1, y2, y3, free of alpha.

    References:
        theory F.1.

    Example:
        >>> derive_ols_with_intercept().verify().result.has(sp.Symbol("alpha", positive=True))
        False
    """
    t = _ThreePoints()
    split = t.s * (t.var_y - 2 * t.slope * t.cov + t.slope**2 * t.var_x)
    split += (t.mean_y - t.intercept - t.slope * t.mean_x) ** 2
    solution = t.minimise(t.risk, (t.intercept, t.slope))
    return Derivation(
        "With an intercept the mixup minimiser is the OLS solution, whatever alpha.",
        ("three arbitrary examples", "pairs with replacement, lam ~ Beta(alpha, alpha)"),
        (
            Step(sp.Eq(t.risk, split), "nine pairs enumerated, powers of lam replaced by their moments"),
            Step(sp.Eq(solution[1], t.cov / t.var_x), "the stationary slope of the enumerated risk: s cancels"),
        ),
    )


def derive_ols_without_intercept() -> Derivation:
    """Derive the minimiser without an intercept, which does depend on alpha.

    Returns:
        The derivation; its result is the slope in x1, x2, x3, y1, y2, y3 and alpha.

    References:
        theory F.1.

    Example:
        >>> derive_ols_without_intercept().verify().result.has(sp.Symbol("alpha", positive=True))
        True
    """
    t = _ThreePoints()
    (slope,) = t.minimise(t.risk.subs(t.intercept, 0), (t.slope,))
    formula = (t.s * t.cov + t.mean_x * t.mean_y) / (t.s * t.var_x + t.mean_x**2)
    return Derivation(
        "Without an intercept the spread shrinks by s and the means do not, so the slope changes.",
        ("three arbitrary examples", "pairs with replacement, lam ~ Beta(alpha, alpha)"),
        (
            Step(slope, "the stationary slope of the risk over the nine enumerated pairs"),
            Step(formula, "collect means and covariances"),
        ),
    )


def derive_ridge_amplification() -> Derivation:
    """Derive that mixup multiplies the effective weight decay by 1/s.

    Returns:
        The derivation; its result is the slope in x1, x2, x3, y1, y2, y3, alpha and kappa.

    References:
        theory F.1.

    Example:
        >>> derive_ridge_amplification().verify().result.has(sp.Symbol("kappa", positive=True))
        True
    """
    t = _ThreePoints()
    kappa = sp.Symbol("kappa", positive=True)
    solution = t.minimise(t.risk / 2 + kappa * t.slope**2 / 2, (t.intercept, t.slope))
    return Derivation(
        "Ridge on mixed pairs is ridge on the data with weight decay kappa / s.",
        ("three arbitrary examples", "pairs with replacement, lam ~ Beta(alpha, alpha)", "free intercept"),
        (
            Step(solution[1], "the stationary slope of the penalised risk over the nine enumerated pairs"),
            Step(t.cov / (t.var_x + kappa / t.s), "divide by s"),
        ),
    )


class _ThreePoints:
    """Three symbolic examples, their moments, and the mixup risk enumerated over all pairs."""

    def __init__(self) -> None:
        x, y = sp.symbols("x1:4", real=True), sp.symbols("y1:4", real=True)
        alpha = sp.Symbol("alpha", positive=True)
        lam = sp.Symbol("lambda", real=True)
        self.intercept, self.slope = sp.symbols("b theta", real=True)
        self.s = (alpha + 1) / (2 * alpha + 1)
        self.mean_x, self.mean_y = sum(x) / 3, sum(y) / 3
        self.var_x = sum((u - self.mean_x) ** 2 for u in x) / 3
        self.var_y = sum((v - self.mean_y) ** 2 for v in y) / 3
        self.cov = sum((u - self.mean_x) * (v - self.mean_y) for u, v in zip(x, y, strict=True)) / 3
        examples = list(zip(x, y, strict=True))
        total = sum(
            (lam * v + (1 - lam) * w - self.intercept - self.slope * (lam * u + (1 - lam) * z)) ** 2
            for u, v in examples
            for z, w in examples
        )
        powers = sp.Poly(sp.expand(total / 9), lam).all_coeffs()[::-1]
        self.risk = sum(c * sp.rf(alpha, k) / sp.rf(2 * alpha, k) for k, c in enumerate(powers))

    @staticmethod
    def minimise(risk: sp.Expr, unknowns: tuple[sp.Symbol, ...]) -> list[sp.Expr]:
        """Solve the normal equations of a quadratic risk."""
        gradient = [sp.diff(risk, u) for u in unknowns]
        system = sp.linear_eq_to_matrix([sp.together(sp.expand_func(g)) for g in gradient], unknowns)
        return list(system[0].LUsolve(system[1]))
