r"""Mean and covariance of mixed examples from a population: any law of lam, dependent pairs, k-way mixing."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray

from ._checks import as_result, check_alpha, check_array, check_integer, check_interval, check_positive
from .derivation import Derivation, Step
from .laws import AlphaOrLaw, DirichletWeights, as_law
from .moments import Result

__all__ = [
    "covariance_factor",
    "derive_covariance_factor",
    "derive_mean_preserved",
    "dirichlet_factor",
    "loewner_gap",
    "mixed_covariance",
]


def covariance_factor(alpha: AlphaOrLaw, correlation: ArrayLike = 0.0) -> Result:
    r"""Factor :math:`s + (1-s)\rho` by which mixing scales the variance, :math:`s = E[\lambda^2+(1-\lambda)^2]`.

    Exact. Independent partners (:math:`\rho=0`) give :math:`s`, in (1/2, 1) for Beta(alpha, alpha); a partner
    correlated with the example shrinks less, an extrapolating lam outside [0, 1] inflates.

    Assumptions:
        The members of a pair have the same mean and variance and the correlation rho; lam is independent of them.

    Args:
        alpha: Beta concentration(s) in [0, inf], or a law of lam.
        correlation: Correlation(s) rho of the members, in [-1, 1]; broadcast with `alpha`.

    Returns:
        The factor, >= 0.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory B.1, B.2.

    Example:
        >>> round(covariance_factor(1.0), 6), round(covariance_factor(1.0, 0.5), 6)
        (0.666667, 0.833333)
    """
    rho = check_interval("correlation", correlation, -1, 1)
    law = as_law(alpha)
    return as_result(np.asarray(law.shrink_factor) + 2 * np.asarray(law.mean_p) * rho)


def mixed_covariance(
    covariance: ArrayLike, alpha: AlphaOrLaw, cross_covariance: ArrayLike | None = None
) -> NDArray[np.float64]:
    r"""Covariance of mixed examples, :math:`\mathrm{Cov}(\tilde X) = s\Sigma + (1-s)C`.

    Here :math:`C = \tfrac12\{\mathrm{Cov}(X,X')+\mathrm{Cov}(X',X)\}`, zero for independent pairs. Applied to
    the joint vector (x, y) it says that inputs, labels and their cross-covariance all scale by the same s.

    Assumptions:
        X and X' have the same mean and the same covariance; lam, of any law on the real line, is independent of them.

    Args:
        covariance: Covariance of one example, shape [d, d].
        alpha: Beta concentration in [0, inf], or a law of lam.
        cross_covariance: Cov(X, X') of the members, shape [d, d]; None for independent pairs.

    Returns:
        The covariance, shape [d, d].

    Raises:
        ValueError: If an argument is out of range or the shapes differ.

    References:
        theory B.1.

    Example:
        >>> mixed_covariance(np.diag([3.0, 6.0]), 1.0).round(6).tolist()
        [[2.0, 0.0], [0.0, 4.0]]
    """
    sigma = _square("covariance", covariance)
    law = as_law(alpha)
    mixed = float(law.shrink_factor) * sigma
    if cross_covariance is not None:
        cross = _square("cross_covariance", cross_covariance, sigma.shape)
        mixed = mixed + float(law.mean_p) * (cross + cross.T)
    return mixed


def loewner_gap(covariance: ArrayLike, mixed: ArrayLike) -> float:
    r"""Smallest eigenvalue of :math:`\Sigma - \mathrm{Cov}(\tilde X)`: mixing shrinks every direction iff it is >= 0.

    For pairs it equals the smallest eigenvalue of :math:`2E[p](\Sigma - C)`; for CutMix it is negative unless
    nothing changes, since the trace of the difference is zero.

    Args:
        covariance: Covariance of the examples, shape [d, d], symmetric.
        mixed: Covariance of the mixed examples, shape [d, d], symmetric.

    Returns:
        The eigenvalue, in the units of the covariance; rounding is of the order of 1e-16 times its norm.

    Raises:
        ValueError: If the shapes differ or a matrix is not symmetric.

    References:
        theory B.1, B.8.

    Example:
        >>> loewner_gap(np.eye(2), 0.5 * np.eye(2))
        0.5
    """
    sigma = _square("covariance", covariance)
    other = _square("mixed", mixed, sigma.shape)
    for name, matrix in (("covariance", sigma), ("mixed", other)):
        if not np.allclose(matrix, matrix.T, rtol=1e-8, atol=1e-12 * np.abs(matrix).max()):
            raise ValueError(f"`{name}` must be symmetric, got {np.abs(matrix - matrix.T).max():g} of asymmetry.")
    return float(np.linalg.eigvalsh(sigma - other)[0])


def dirichlet_factor(alpha: ArrayLike, num_mixed: int | None = None) -> float:
    r"""Covariance factor :math:`E\sum_i w_i^2` of mixing k independent examples with Dirichlet weights.

    :math:`(\alpha+1)/(k\alpha+1)` for Dir(alpha, ..., alpha), which is s(alpha) at k = 2, and
    :math:`\sum_i\alpha_i(\alpha_i+1)/(\alpha_0(\alpha_0+1))`, :math:`\alpha_0=\sum_i\alpha_i`, in general.

    Args:
        alpha: One concentration in [0, inf] when `num_mixed` is given, else all k >= 2 of them, each > 0, shape [k].
        num_mixed: Number k >= 2 of examples mixed, for a common concentration.

    Returns:
        The factor in [1/k, 1].

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory B.7.

    Example:
        >>> dirichlet_factor(1.0, 3), dirichlet_factor([1.0, 1.0, 1.0])
        (0.5, 0.5)
    """
    if num_mixed is not None:
        common = check_alpha(alpha)
        if common.ndim:
            raise ValueError(f"`alpha` must be one number when `num_mixed` is given, got shape {common.shape}.")
        return DirichletWeights(float(common), check_integer("num_mixed", num_mixed, 2)).shrink_factor
    each = check_positive("alpha", check_array("alpha", alpha, 1))
    if len(each) < 2:
        raise ValueError("`alpha` must hold at least 2 concentrations, got 1. Or give `num_mixed`.")
    total = each.sum()
    return float(np.sum(each / total * ((each + 1) / (total + 1))))


def derive_mean_preserved(n: int = 3) -> Derivation:
    r"""Derive that mixing keeps the mean: in expectation for any lam, and exactly for a batch with one lam.

    Args:
        n: Batch size whose permutations are all enumerated, 2..5.

    Returns:
        The derivation; its result is the mean of the n examples.

    Raises:
        ValueError: If n is out of range.

    References:
        theory B.1, B.4.

    Example:
        >>> derive_mean_preserved().verify().result
        x1/3 + x2/3 + x3/3
    """
    n = int(check_interval("n", check_integer("n", n, 2), 2, 5))
    lam, mu = sp.symbols("lambda mu", real=True)
    x = sp.symbols(f"x1:{n + 1}", real=True)
    batch_means = [sum(lam * x[i] + (1 - lam) * x[pi[i]] for i in range(n)) / n for pi in permutations(range(n))]
    steps = (
        Step(lam * mu + (1 - lam) * mu, "mean given the weight: both members have mean mu"),
        Step(mu, "the weights sum to one, whatever the law of the weight"),
        Step(
            sum(xi / sp.Integer(n) for xi in x),
            f"one weight per batch: its mean under each of the {len(batch_means)} permutations",
            tuple(({}, mean) for mean in batch_means),
        ),
    )
    given = ("members of equal mean", "the weight independent of the members", "partners a permutation (batch)")
    return Derivation("Mixing preserves the mean.", given, steps)


def derive_covariance_factor() -> Derivation:
    r"""Derive :math:`\mathrm{Cov}(\tilde X) = s\Sigma + (1-s)C` with :math:`s = (\alpha+1)/(2\alpha+1)`.

    Returns:
        The derivation; its result is in the symbols alpha, v (variance) and c (covariance of the members).

    References:
        theory B.1.

    Example:
        >>> derive_covariance_factor().verify().result
        c*(-(alpha + 1)/(2*alpha + 1) + 1) + v*(alpha + 1)/(2*alpha + 1)
    """
    lam, c = sp.symbols("lambda c", real=True)
    alpha, v = sp.symbols("alpha v", positive=True)
    weights, members = sp.Matrix([lam, 1 - lam]), sp.Matrix([[v, c], [c, v]])
    quadratic = (weights.T * members * weights)[0]
    q, s = lam**2 + (1 - lam) ** 2, (alpha + 1) / (2 * alpha + 1)
    square, product = (sp.beta(alpha + 2, alpha), sp.beta(alpha + 1, alpha + 1))
    steps = (
        Step(quadratic, "variance of a weighted sum given the weight"),
        Step(q * v + (1 - q) * c, "collect"),
        Step(
            sp.Eq((2 * square * v + 2 * product * c) / sp.beta(alpha, alpha), s * v + (1 - s) * c),
            "average over the weight by its Beta moments; the mean given the weight is constant and adds nothing",
        ),
    )
    given = ("members of equal mean and variance v, covariance c", "lam independent of them, Beta(alpha, alpha)")
    return Derivation("Mixing scales the covariance to s v + (1 - s) c.", given, steps)


def _square(name: str, value: ArrayLike, shape: tuple[int, ...] | None = None) -> NDArray[np.float64]:
    """Return a square matrix, of the given shape if there is one."""
    matrix = check_array(name, value, 2)
    wanted = (matrix.shape[0],) * 2 if shape is None else shape
    if matrix.shape != wanted:
        raise ValueError(f"`{name}` must have shape {wanted}, got {matrix.shape}.")
    return matrix
