r"""Tests of a measured covariance factor against its prediction that hold their size: per sample, and per batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, stdtr

from ._checks import as_result, check_array, check_choice, check_interval
from .batch_variance import BatchMoments, batch_covariance_variance, batch_moments
from .finite_batch import finite_batch_factor, one_sample_factor
from .laws import AlphaOrLaw, as_law
from .moments import Result

__all__ = [
    "ESTIMATORS",
    "FactorTest",
    "batch_factor_test",
    "factor_test",
    "mixed_fourth_moment_ratio",
    "pair_factor_test",
    "shrink_ratio_asymptotic_var",
]

ESTIMATORS = ("fixed", "x_only", "pooled", "permutation")


@dataclass(frozen=True)
class FactorTest:
    """A measured factor, its predicted value, and how far apart they are.

    Attributes:
        estimate: Measured mixed variance over original variance (traces).
        standard_error: Standard error of the estimate under the prediction.
        statistic: (estimate - target) / standard_error.
        p_value: Two-sided; uniform on [0, 1] when the prediction holds.
        target: The predicted factor.
        degrees_of_freedom: Of the t law; inf for a z test.
        num_units: Independent units behind the estimate: mixed samples or batches.
    """

    estimate: float
    standard_error: float
    statistic: float
    p_value: float
    target: float
    degrees_of_freedom: float
    num_units: int


def _decide(estimate: float, standard_error: float, target: float, degrees: float, units: int) -> FactorTest:
    """Turn an estimate and its standard error into a two-sided test."""
    if standard_error > 0:
        statistic = (estimate - target) / standard_error
    else:  # nothing varies (fixed lam, say): the prediction is met to rounding or it is not
        met = np.isclose(estimate, target, rtol=1e-9, atol=0)
        statistic = 0.0 if met else float(np.copysign(np.inf, estimate - target))
    p_value = 2 * float(ndtr(-abs(statistic)) if np.isinf(degrees) else stdtr(degrees, -abs(statistic)))
    return FactorTest(estimate, standard_error, statistic, p_value, target, degrees, units)


def mixed_fourth_moment_ratio(alpha: AlphaOrLaw, kurtosis: ArrayLike, sphericity: ArrayLike = 1.0) -> Result:
    r"""Fourth moment of a mixed sample over the squared trace T, :math:`M_4=E|\tilde x-\mu|^4/T^2`.

    Equals :math:`E[\lambda^4+(1-\lambda)^4]\kappa_T+(2+4r)E[p^2]` with :math:`T=\mathrm{tr}\Sigma`,
    :math:`\kappa_T=E|x-\mu|^4/T^2`, :math:`r=\mathrm{tr}\Sigma^2/T^2`; a scalar has r = 1.

    Assumptions:
        Independent pairs (with replacement), lam independent of them.

    Args:
        alpha: Beta concentration(s) in [0, inf], or a law of lam.
        kurtosis: :math:`\kappa_T`, >= 1.
        sphericity: r, in (0, 1]: 1/d for d equal variances, 1 for a scalar. All broadcast.

    Returns:
        The ratio.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory B.6.

    Example:
        >>> round(mixed_fourth_moment_ratio(1.0, 3.0), 12)
        1.4
    """
    law = as_law(alpha)
    kappa = check_interval("kurtosis", kurtosis, 1, np.inf, closed="left")
    r = check_interval("sphericity", sphericity, 0, 1, closed="right")
    own = np.asarray(law.moment(4)) + np.asarray(law.moment(0, 4))
    return as_result(own * kappa + (2 + 4 * r) * np.asarray(law.mean_p_squared))


def shrink_ratio_asymptotic_var(
    alpha: AlphaOrLaw, kurtosis: ArrayLike, estimator: str = "x_only", sphericity: ArrayLike = 1.0
) -> Result:
    r"""Asymptotic :math:`m\,\mathrm{Var}(\hat s)` of mixed over original variance, m mixed samples, lam per sample.

    :math:`M_4-s^2` for `fixed` (data fixed, m pairs with replacement, known mean: unbiased, and exact at every m) and
    for `x_only` (the variance of the m first members below the line: its error cancels exactly);
    :math:`M_4-\tfrac12s^2(\kappa_T+1)`, smaller, for `pooled` (both members below the line) and `permutation`
    (partners a permutation of the same data).

    Args:
        alpha: Beta concentration(s) in [0, inf], or a law of lam.
        kurtosis: :math:`\kappa_T=E|x-\mu|^4/(\mathrm{tr}\Sigma)^2`, >= 1; the kurtosis of a scalar.
        estimator: One of `ESTIMATORS`.
        sphericity: :math:`\mathrm{tr}\Sigma^2/(\mathrm{tr}\Sigma)^2`, in (0, 1]; 1 for a scalar.

    Returns:
        The variance, >= 0.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory B.6.

    Example:
        >>> round(shrink_ratio_asymptotic_var(1.0, 3.0), 6), round(shrink_ratio_asymptotic_var(1.0, 3.0, "pooled"), 6)
        (0.955556, 0.511111)
    """
    check_choice("estimator", estimator, ESTIMATORS)
    fourth = np.asarray(mixed_fourth_moment_ratio(alpha, kurtosis, sphericity))
    s = np.asarray(as_law(alpha).shrink_factor)
    if estimator in ("fixed", "x_only"):
        return as_result(fourth - s**2)
    return as_result(fourth - s**2 * (np.asarray(kurtosis, dtype=float) + 1) / 2)


def factor_test(
    mixed: ArrayLike,
    original: ArrayLike,
    alpha: AlphaOrLaw,
    *,
    partner: str = "resampled",
    lam_per: str = "sample",
    lam_max: bool = False,
    target: float | None = None,
) -> FactorTest:
    r"""Test per sample whether mixing a data set gave the predicted factor, with lam drawn per sample or per pair.

    The data are held fixed: :math:`\hat s=\tfrac1{mT}\sum|\tilde x-\bar x|^2` about their known mean has exactly the
    expectation `one_sample_factor` and exactly the variance used here (:math:`(M_4-s^2)/m` for `resampled`, theory B.5
    for the others), so only the normal law of the statistic is approximate. An F or chi-square test would assume
    Gaussian data and independence from the original, and is wrong by a factor 3 to 11 in variance.

    Args:
        mixed: Mixed samples, shape [m] or [m, d]; for partners other than `resampled` one or more mixed batches, each
            of the whole data set, one after the other (m a multiple of n).
        original: The data set mixed, shape [n] or [n, d].
        alpha: Beta concentration in [0, inf], or a law of lam.
        partner: One of `finite_batch.BATCH_PARTNERS`; `flip` and `roll` after a shuffle.
        lam_per: `sample`, or `pair` for `flip`. For one lam per batch use `batch_factor_test`.
        lam_max: The weights were max(lam, 1 - lam).
        target: Factor to test; the prediction for the scheme when None.

    Returns:
        Estimate, standard error, z statistic, p-value and target.

    Raises:
        ValueError: If shapes do not fit, or lam is shared over the batch.

    References:
        theory B.4-B.6.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, pairs, lam = rng.normal(size=50), rng.integers(0, 50, (2, 400)), rng.uniform(size=400)
        >>> test = factor_test(lam * x[pairs[0]] + (1 - lam) * x[pairs[1]], x, alpha=1.0)
        >>> round(test.target, 4), test.p_value > 0.05
        (0.6667, True)
    """
    if lam_per == "batch":
        raise ValueError(
            "`lam_per` must be 'sample' or 'pair', got 'batch'. With one lam per batch the batch is the unit and this "
            "test rejects a true prediction too often: use `batch_factor_test`."
        )
    data, z = _matched(original, mixed)
    batch = batch_moments(data)
    draws, repeats = (len(z), 1) if partner == "resampled" else (None, len(z) // len(data))
    if draws is None and len(z) != repeats * len(data):
        raise ValueError(f"`mixed` must hold whole batches of {len(data)} for partner {partner!r}, got {len(z)} rows.")
    variance = batch_covariance_variance(batch, alpha, partner, lam_per, lam_max, known_mean=True, num_draws=draws)
    estimate = float(np.mean(np.sum((z - data.mean(axis=0)) ** 2, axis=1)) / batch.trace)
    standard_error = float(np.sqrt(variance / repeats) / batch.trace)
    expected = float(one_sample_factor(batch.n, alpha, partner)) if target is None else float(target)
    return _decide(estimate, standard_error, expected, np.inf, len(z))


def pair_factor_test(
    mixed: ArrayLike,
    first: ArrayLike,
    alpha: AlphaOrLaw,
    second: ArrayLike | None = None,
    *,
    target: float | None = None,
) -> FactorTest:
    r"""Test the population factor from m independent fresh pairs, lam per sample.

    The ratio of sample variances, below the line that of the first members (`x_only`) or of both (`pooled`, smaller
    error). Standard error from `shrink_ratio_asymptotic_var` with the measured kurtosis: right as m grows.

    Args:
        mixed: Mixed samples, shape [m] or [m, d].
        first: The members with weight lam, of the same shape.
        alpha: Beta concentration in [0, inf], or a law of lam.
        second: The members with weight 1 - lam, of the same shape; None if they were not kept.
        target: Factor to test; s when None.

    Returns:
        Estimate, standard error, z statistic, p-value and target.

    Raises:
        ValueError: If the shapes differ.

    References:
        theory B.6.

    Example:
        >>> rng = np.random.default_rng(1)
        >>> x, z, lam = rng.normal(size=400), rng.normal(size=400), rng.uniform(size=400)
        >>> pair_factor_test(lam * x + (1 - lam) * z, x, 1.0, z).p_value > 0.05
        True
    """
    own, z = _matched(first, mixed)
    members = [own]
    if second is not None:
        members.append(_matched(first, second)[1])
    if any(len(member) != len(z) for member in members):
        raise ValueError(f"`mixed`, `first` and `second` must have the same length, got {len(z)} mixed samples.")
    moments = [batch_moments(member) for member in members]
    pooled = BatchMoments(
        len(z), *(float(np.mean([getattr(b, name) for b in moments])) for name in ("trace", "square", "fourth"))
    )
    estimate = batch_moments(z).trace / pooled.trace
    estimator = "x_only" if second is None else "pooled"
    sphericity = min(pooled.square / pooled.trace**2, 1.0)
    variance = shrink_ratio_asymptotic_var(alpha, max(pooled.kurtosis, 1.0), estimator, sphericity)
    expected = float(as_law(alpha).shrink_factor) if target is None else float(target)
    return _decide(estimate, float(np.sqrt(max(variance, 0.0) / len(z))), expected, np.inf, len(z))


def batch_factor_test(
    mixed: ArrayLike,
    original: ArrayLike,
    alpha: AlphaOrLaw,
    *,
    partner: str = "permutation",
    lam_per: str = "batch",
    lam_max: bool = False,
    known_variance: bool = False,
    target: float | None = None,
) -> FactorTest:
    r"""Test the finite-batch factor with the batch as the unit: right whatever shares lam, one lam per batch included.

    Each batch gives :math:`\mathrm{tr}\tilde S_b/\mathrm{tr}S_b`, whose expectation is `finite_batch_factor` exactly;
    a t test over batches, or with `known_variance` a z test with the exact variances of theory B.5. Testing one-lam
    batches per sample rejects a true prediction in 68 % of cases at nominal 5 % with the variance of `permutation`
    (in 42 % even with the too wide F test): normal data, alpha = 1, 40 batches of 512.

    Args:
        mixed: Mixed batches, shape [num_batches, n] or [num_batches, n, d].
        original: The batches before mixing, of the same shape.
        alpha: Beta concentration in [0, inf], or a law of lam.
        partner: One of `finite_batch.BATCH_PARTNERS`; `flip` and `roll` after a shuffle.
        lam_per: `batch`, `sample`, or `pair` (for `flip`).
        lam_max: The weights were max(lam, 1 - lam).
        known_variance: Use the exact variance given the batches in place of the sample variance.
        target: Factor to test; the prediction for the scheme when None.

    Returns:
        Estimate, standard error, statistic, p-value and target.

    Raises:
        ValueError: If shapes differ, or fewer than 2 batches are given for the t test.

    References:
        theory B.4-B.6.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, lam = rng.normal(size=(40, 16)), rng.uniform(size=(40, 1))
        >>> test = batch_factor_test(lam * x + (1 - lam) * np.roll(x, 1, axis=1), x, 1.0, partner="roll")
        >>> round(test.target, 4), test.num_units, test.p_value > 0.05
        (0.6444, 40, True)
    """
    z, x = check_array("mixed", mixed, (2, 3)), check_array("original", original, (2, 3))
    if z.shape != x.shape:
        raise ValueError(f"`mixed` and `original` must have one shape, got {z.shape} and {x.shape}.")
    n = x.shape[1]
    expected = float(finite_batch_factor(n, alpha, partner, lam_per, lam_max)) if target is None else float(target)
    batches = [batch_moments(batch) for batch in x]
    ratios = _traces(z) / np.array([batch.trace for batch in batches])
    estimate, count = float(ratios.mean()), len(ratios)
    if known_variance:
        variances = [
            batch_covariance_variance(batch, alpha, partner, lam_per, lam_max) / batch.trace**2 for batch in batches
        ]
        return _decide(estimate, float(np.sqrt(sum(variances)) / count), expected, np.inf, count)
    if count < 2:
        raise ValueError(f"`mixed` must hold at least 2 batches for a t test, got {count}. Or use `known_variance`.")
    return _decide(estimate, float(ratios.std(ddof=1) / np.sqrt(count)), expected, count - 1, count)


def _traces(batches: NDArray[np.float64]) -> NDArray[np.float64]:
    """Trace of the covariance (divisor n) of every batch, shape [num_batches]."""
    variance = batches.var(axis=1)
    return variance if variance.ndim == 1 else variance.sum(axis=1)


def _matched(original: ArrayLike, mixed: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both as [rows, d] with the same d."""
    x, z = check_array("original", original, (1, 2)), check_array("mixed", mixed, (1, 2))
    if x.ndim != z.ndim or x.shape[1:] != z.shape[1:]:
        raise ValueError(f"`mixed` and `original` must have the same features, got shapes {z.shape} and {x.shape}.")
    return x.reshape(len(x), -1), z.reshape(len(z), -1)
