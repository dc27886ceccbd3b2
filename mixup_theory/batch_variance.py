r"""How much the covariance of one mixed batch varies: exact for every scheme, with the floor that one lam leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._checks import as_result, check_array
from .finite_batch import (
    check_scheme,
    fixed_point_probability,
    pair_return_probability,
    partner_correlation,
    weight_law,
)
from .laws import AlphaOrLaw, as_law
from .moments import Result

__all__ = ["BatchMoments", "batch_covariance_variance", "batch_moments", "one_lam_floor"]


@dataclass(frozen=True)
class BatchMoments:
    r"""What a batch of centred examples e_i contributes: its size, and three sums; scalars are the case d = 1.

    Products of different members follow, since the e_i sum to zero: `square_product` is :math:`E(e_i\cdot e_j)^2`
    and `norm_product` :math:`E|e_i|^2|e_j|^2` over i != j, `path` :math:`E(e_i\cdot e_j)(e_j\cdot e_k)`,
    `norm_path` :math:`E|e_j|^2\,e_i\cdot e_k`, `disjoint` :math:`E(e_i\cdot e_j)(e_k\cdot e_l)`, all indices different.

    Attributes:
        n: Batch size, >= 2.
        trace: :math:`\mathrm{tr}\hat\Sigma`, divisor n; the variance of a scalar batch.
        square: :math:`\mathrm{tr}\hat\Sigma^2`; the squared variance of a scalar batch.
        fourth: :math:`\tfrac1n\sum|e_i|^4`.

    References:
        theory B.5 (E_22, E_121, E_1111, there for scalars).
    """

    n: int
    trace: float
    square: float
    fourth: float

    @property
    def kurtosis(self) -> float:
        r"""Return :math:`\kappa_T = E|e|^4/(\mathrm{tr}\hat\Sigma)^2`."""
        return self.fourth / self.trace**2

    @property
    def square_product(self) -> float:
        r"""Return :math:`E(e_i\cdot e_j)^2`."""
        return (self.n * self.square - self.fourth) / (self.n - 1)

    @property
    def norm_product(self) -> float:
        r"""Return :math:`E|e_i|^2|e_j|^2`."""
        return (self.n * self.trace**2 - self.fourth) / (self.n - 1)

    @property
    def path(self) -> float:
        r"""Return :math:`E(e_i\cdot e_j)(e_j\cdot e_k)`, 0 where there are no three members."""
        n = self.n
        return (2 * self.fourth - n * self.square) / ((n - 1) * (n - 2)) if n > 2 else 0.0

    @property
    def norm_path(self) -> float:
        r"""Return :math:`E|e_j|^2\,e_i\cdot e_k`, 0 where there are no three members."""
        n = self.n
        return (2 * self.fourth - n * self.trace**2) / ((n - 1) * (n - 2)) if n > 2 else 0.0

    @property
    def disjoint(self) -> float:
        r"""Return :math:`E(e_i\cdot e_j)(e_k\cdot e_l)`, 0 where there are no four members."""
        n = self.n
        total = n * self.trace**2 + 2 * n * self.square - 6 * self.fourth
        return total / ((n - 1) * (n - 2) * (n - 3)) if n > 3 else 0.0


def batch_moments(x: ArrayLike) -> BatchMoments:
    """Measure a batch.

    Args:
        x: The batch, shape [n] or [n, d], n >= 2, not all examples equal.

    Returns:
        Its moments.

    Raises:
        ValueError: If the batch is too small or has no variance.

    Example:
        >>> batch_moments([-1.0, 1.0])
        BatchMoments(n=2, trace=1.0, square=1.0, fourth=1.0)
    """
    array = check_array("x", x, (1, 2))
    if len(array) < 2:
        raise ValueError(f"`x` must hold at least 2 examples, got {len(array)}.")
    e = (array - array.mean(axis=0)).reshape(len(array), -1)
    norms = np.sum(e**2, axis=1)
    trace = float(norms.mean())
    if not trace > 0:
        raise ValueError("`x` must not be constant, got zero variance.")
    gram = e.T @ e if e.shape[1] < len(e) else e @ e.T
    return BatchMoments(len(e), trace, float(np.sum((gram / len(e)) ** 2)), float(np.mean(norms**2)))


def one_lam_floor(alpha: AlphaOrLaw) -> Result:
    r"""Relative standard deviation :math:`\sqrt{\mathrm{Var}\,q}/s` that one lam per batch leaves at any batch size.

    The standard deviation of the batch covariance over its mean as n grows: 22.4 % at alpha = 1, 20.2 % at 0.2.

    Args:
        alpha: Beta concentration(s) in [0, inf], or a law of lam.

    Returns:
        The floor, >= 0.

    Raises:
        ValueError: If `alpha` is out of range.

    References:
        theory B.5.

    Example:
        >>> round(one_lam_floor(1.0), 3)
        0.224
    """
    law = as_law(alpha)
    return as_result(np.sqrt(np.asarray(law.var_q)) / np.asarray(law.shrink_factor))


def batch_covariance_variance(
    x: ArrayLike | BatchMoments,
    alpha: AlphaOrLaw,
    partner: str = "permutation",
    lam_per: str = "batch",
    lam_max: bool = False,
    *,
    known_mean: bool = False,
    num_draws: int | None = None,
) -> float:
    r"""Variance, given the batch, of the trace of its mixed covariance (divisor n); scalars are the case d = 1.

    Exact, over partners and weights. For partners that are a permutation, with :math:`e_i` the centred examples,
    :math:`C=\tfrac1n\sum e_i\cdot e_{\pi(i)}` and :math:`T=\mathrm{tr}\hat\Sigma`, one lam per batch gives

    .. math:: \mathrm{Var}\,q\;E(T-C)^2 + 4(Ep)^2\,\mathrm{Var}\,C,

    whose first term does not vanish as n grows; lam per pair :math:`\mathrm{Var}\,q\,Q/(2n)+4(Ep)^2\mathrm{Var}\,C`;
    lam per sample, about the known mean, :math:`(4VH+\mathrm{Var}\,q\,Q/4)/n+4(Ep)^2\mathrm{Var}\,C`, with
    :math:`V=\mathrm{Var}\lambda`, :math:`Q=E|e_i-e_{\pi(i)}|^4`, :math:`H=\tfrac14E(|e_i|^2-|e_{\pi(i)}|^2)^2`.
    The partner law enters by the chance of a fixed point and of a two-cycle alone.

    Args:
        x: The batch, shape [n] or [n, d], or its `BatchMoments`.
        alpha: Beta concentration in [0, inf], or a law of lam; one number.
        partner: One of `finite_batch.BATCH_PARTNERS`.
        lam_per: `batch`, `sample`, or `pair` (for `flip`).
        lam_max: Use max(lam, 1 - lam).
        known_mean: Take the second moment about the mean of the original batch (its expectation is
            `one_sample_factor`) in place of the covariance about the mixed mean (`finite_batch_factor`).
        num_draws: Number m of mixed examples for `resampled` (n when None).

    Returns:
        The variance, in the units of x to the fourth.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory B.5, extended from scalars to vectors, to every partner law, and to the mixed mean.

    Example:
        >>> x = [-1.7, 0.3, 0.9, 2.4]
        >>> round(batch_covariance_variance(x, 1.0, "flip"), 6)
        0.3508
    """
    batch = x if isinstance(x, BatchMoments) else batch_moments(x)
    _, m = check_scheme(batch.n, partner, lam_per, num_draws)
    law = weight_law(alpha, lam_max)
    if np.ndim(law.mean):
        raise ValueError(f"`alpha` must be one number, got shape {np.shape(law.mean)}. Call once per value.")
    if partner == "resampled":
        variance = _resampled(batch, law, lam_per, known_mean, m)
    elif partner == "independent":
        variance = _independent(batch, law, lam_per, known_mean)
    else:
        variance = _permuted(batch, law, partner, lam_per, known_mean)
    return max(variance, 0.0)  # rounding, where nothing varies


def _permuted(batch: BatchMoments, law: Any, partner: str, lam_per: str, known_mean: bool) -> float:
    """Partners that are a permutation of the batch."""
    n, trace = batch.n, batch.trace
    mean_c = trace * partner_correlation(n, partner)
    square_c, square_k = _pairing_squares(batch, partner)
    var_c = square_c - mean_c**2
    off = 1 - fixed_point_probability(n, partner)
    triple = -batch.fourth / (n - 1)  # E |e_i|^2 e_i.e_j
    gap = off * (2 * batch.fourth + 2 * batch.norm_product + 4 * batch.square_product - 8 * triple)
    imbalance = off * (batch.fourth - batch.norm_product) / 2
    p, var_q = float(law.mean_p), float(law.var_q)
    if lam_per == "batch":
        return var_q * (trace**2 - 2 * trace * mean_c + square_c) + 4 * p**2 * var_c
    if lam_per == "pair":
        return var_q * gap / (2 * n) + 4 * p**2 * var_c
    v = float(law.variance)
    second_moment = (4 * v * imbalance + var_q * gap / 4) / n
    if known_mean:
        return second_moment + 4 * p**2 * var_c
    _, v3, v4 = _central(law)
    cross = ((2 * float(law.mean) - 1) * v3 + v4 - v**2) * gap / n**2
    spread = 4 * batch.square * (1 - 2 * partner_correlation(n, partner)) + 4 * square_k
    mean_square = (v4 - 3 * v**2) * gap / n**3 + 2 * v**2 * spread / n**2
    return (2 * p + 2 * v / n) ** 2 * var_c + second_moment - 2 * cross + mean_square


def _pairing_squares(batch: BatchMoments, partner: str) -> tuple[float, float]:
    r"""Return :math:`E C^2` and :math:`E|K|^2` (Frobenius) for C = tr K, K = sum of e_i e_pi(i)^T / n, symmetrised.

    Two pairs (i, pi(i)) and (j, pi(j)) are: both fixed, one fixed, a two-cycle, a path, or disjoint.
    """
    n = batch.n
    dot, norm, fourth = batch.square_product, batch.norm_product, batch.fourth
    fixed = fixed_point_probability(n, partner)
    if partner == "permutation":
        both = swap = 1 / (n * (n - 1))
        single = path = 2 * (n - 2) * both
        disjoint = (n - 2) * (n - 3) * both
    else:
        back = pair_return_probability(n, partner)
        both = single = 0.0
        swap, path, disjoint = back / (n - 1), 2 * (1 - back) / (n - 1), (n - 3 + back) / (n - 1)
    rest = disjoint * batch.disjoint
    trace = both * norm + single * batch.norm_path + swap * dot + path * batch.path + rest
    outer = (both + swap) * dot + (single + path) * batch.path + rest  # tr K K^T
    plain = both * dot + single * batch.path + swap * norm + path * batch.norm_path + rest  # tr K K
    same_dot, same_norm = fixed * fourth + (1 - fixed) * dot, fixed * fourth + (1 - fixed) * norm
    square_c = (same_dot + (n - 1) * trace) / n
    square_k = (same_norm + same_dot + (n - 1) * (outer + plain)) / (2 * n)
    return square_c, square_k


def _independent(batch: BatchMoments, law: Any, lam_per: str, known_mean: bool) -> float:
    """Every example once as first member, partners with replacement."""
    n, t, tau, fourth = batch.n, batch.trace, batch.square, batch.fourth
    p2 = float(law.mean_p_squared)
    b2, b4 = float(law.moment(0, 2)), float(law.moment(0, 4))
    if lam_per == "batch":
        partners = b4 * _iid_variance(n, fourth, t**2, tau, known_mean) + 4 * p2 * tau / n
        if known_mean:
            return float(law.var_q) * t**2 + partners
        factor = law.shrink_factor - b2 / n
        return partners + t**2 * law.expect(lambda w: (w**2 + (1 - 1 / n) * (1 - w) ** 2 - factor) ** 2)
    mean, a2 = float(law.mean), float(law.moment(2))
    mixed = 2 * t**2 + 4 * tau  # E(|e|^2|f|^2) and E(e.f)^2 of independent members, as both always meet
    second_moment = law.expect(lambda w: (w**2 - a2) ** 2) * fourth + b4 * fourth - b2**2 * t**2
    second_moment = (second_moment + mixed * p2 - 2 * a2 * b2 * t**2) / n
    if known_mean:
        return second_moment
    v, v3, v4 = _central(law)
    third = v3 * fourth + law.expect(lambda w: (w - mean) * (1 - w) ** 2) * (t**2 + 2 * tau)
    noise = (v4 + b4) * fourth + law.expect(lambda w: (w - mean) ** 2 * (1 - w) ** 2) * mixed
    square_trace = v**2 * fourth + (2 * v * b2 + b2**2) * t**2
    trace_square = v**2 * fourth + (2 * v * b2 + b2**2) * tau
    cross = (2 * mean * third + noise - square_trace) / n**2
    mean_square = (noise - square_trace - 2 * trace_square) / n**3 + 2 * (v + b2) ** 2 * tau / n**2
    return second_moment - 2 * cross + mean_square


def _resampled(batch: BatchMoments, law: Any, lam_per: str, known_mean: bool, m: int) -> float:
    """Pairs of m independent draws."""
    t, tau = batch.trace, batch.square
    s, p2 = float(law.shrink_factor), float(law.mean_p_squared)
    fourth = (float(law.moment(4)) + float(law.moment(0, 4))) * batch.fourth + p2 * (2 * t**2 + 4 * tau)
    if lam_per == "sample":
        return _iid_variance(m, fourth, s**2 * t**2, s**2 * tau, known_mean)
    q2 = float(law.mean_q_squared)
    between = float(law.var_q) * (t if known_mean else t * (1 - 1 / m)) ** 2
    return between + _iid_variance(m, fourth, q2 * t**2, q2 * tau, known_mean)


def _iid_variance(m: int, fourth: float, trace_squared: float, square: float, known_mean: bool) -> float:
    r"""Variance of the trace of the covariance (divisor m) of m independent vectors."""
    if known_mean:
        return (fourth - trace_squared) / m
    return (m - 1) * ((m - 1) * (fourth - trace_squared) + 2 * square) / m**3


def _central(law: Any) -> tuple[float, float, float]:
    """Return the second, third and fourth central moment of lam."""
    mean = law.mean
    return (
        float(law.variance),
        float(law.expect(lambda w: (w - mean) ** 3)),
        float(law.expect(lambda w: (w - mean) ** 4)),
    )
