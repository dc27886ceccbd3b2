r"""Mixing within one batch: how each partner scheme scales the batch covariance, in expectation, at finite n."""

from __future__ import annotations

from fractions import Fraction
from math import factorial

import numpy as np

from ._checks import as_result, check_choice, check_integer
from .laws import AlphaOrLaw, Beta, Fixed, LargerBeta, Law, as_law
from .mixing import LAM_PER, PARTNERS
from .moments import Result

__all__ = [
    "BATCH_PARTNERS",
    "batch_mean_variance_factor",
    "check_scheme",
    "finite_batch_factor",
    "fixed_point_probability",
    "one_sample_factor",
    "pair_return_probability",
    "partner_correlation",
    "unconditional_factor",
    "weight_law",
]

BATCH_PARTNERS = (*PARTNERS, "resampled")  # resampled: both members drawn with replacement, m fresh pairs


def check_scheme(n: int, partner: str, lam_per: str = "batch", num_draws: int | None = None) -> tuple[int, int]:
    """Check how a batch is mixed.

    The partner laws are those of `mixing.draw_partner` plus `resampled`. Note the difference: `independent` uses
    every x_i once as the first member and draws only its partner with replacement; `resampled` draws both members
    with replacement, m pairs in all. They agree for one mixed sample and differ for the batch.

    Args:
        n: Batch size, >= 2; even for `flip`.
        partner: One of `BATCH_PARTNERS`; `flip` and `roll` stand for a batch in random order.
        lam_per: One of `LAM_PER`; `pair` belongs to `flip`.
        num_draws: Number m of mixed examples for `resampled` (n when None).

    Returns:
        The batch size and the number of mixed examples.

    Raises:
        ValueError: If the scheme is unknown or impossible.
    """
    n = check_integer("n", n, 2)
    check_choice("partner", partner, BATCH_PARTNERS)
    check_choice("lam_per", lam_per, LAM_PER)
    if partner == "flip" and n % 2:
        raise ValueError(f"`n` must be even for partner 'flip', got {n}. Drop one example or use 'derangement'.")
    if lam_per == "pair" and partner != "flip":
        raise ValueError(f"`partner` must be 'flip' for lam_per 'pair', got {partner!r}.")
    if partner != "resampled" and num_draws is not None:
        raise ValueError(f"`num_draws` must be None for partner {partner!r}, got {num_draws}.")
    return n, n if num_draws is None else check_integer("num_draws", num_draws, 2)


def weight_law(alpha: AlphaOrLaw, lam_max: bool = False) -> Law:
    """Return the law of the weight in use, of max(lam, 1 - lam) with `lam_max`.

    Args:
        alpha: Beta concentration(s) in [0, inf], or a law.
        lam_max: Take the larger of lam and 1 - lam.

    Returns:
        The law.

    Raises:
        ValueError: If `lam_max` is asked of an asymmetric Beta law, whose larger weight has no closed form here.
    """
    law = as_law(alpha)
    if not lam_max or isinstance(law, LargerBeta):
        return law
    if isinstance(law, Fixed):
        lam = np.asarray(law.lam, dtype=float)
        return Fixed(np.maximum(lam, 1 - lam))
    if isinstance(law, Beta) and law.beta is None:
        return LargerBeta(law.alpha)
    raise ValueError(f"`lam_max` must be False for the law {law}. Use a symmetric Beta or a fixed lam.")


def fixed_point_probability(n: int, partner: str) -> float:
    """Probability that an example is its own partner: 1/n for `permutation`, `independent`, `resampled`, else 0.

    Args:
        n: Batch size, >= 2; even for `flip`.
        partner: One of `BATCH_PARTNERS`.

    Returns:
        The probability.

    Raises:
        ValueError: If the scheme is unknown or impossible.

    References:
        theory B.4.

    Example:
        >>> fixed_point_probability(4, "permutation"), fixed_point_probability(4, "roll")
        (0.25, 0.0)
    """
    n, _ = check_scheme(n, partner)
    return 0.0 if partner in ("derangement", "flip", "roll") else 1 / n


def pair_return_probability(n: int, partner: str) -> float:
    r"""Probability :math:`\rho_2 = P(\pi(\pi(i)) = i)` that the partner of my partner is me.

    0 for a roll (one n-cycle, n > 2), 1 for a flip, :math:`(n-1)D_{n-2}/D_n \approx 1/n` for a uniform
    derangement with :math:`D_n` the number of derangements, and 2/n for a uniform permutation, fixed points included.

    Args:
        n: Batch size, >= 2; even for `flip`.
        partner: `permutation`, `derangement`, `flip` or `roll`.

    Returns:
        The probability.

    Raises:
        ValueError: If the partners are no permutation, or the scheme is impossible.

    References:
        theory B.5, C.6.

    Example:
        >>> [pair_return_probability(8, partner) for partner in ("roll", "flip", "permutation")]
        [0.0, 1.0, 0.25]
    """
    n, _ = check_scheme(n, partner)
    if partner in ("independent", "resampled"):
        raise ValueError(f"`partner` must be a permutation law, got {partner!r}.")
    if n == 2 or partner == "flip":
        return 1.0
    if partner == "permutation":
        return 2 / n
    if partner == "roll" or n == 3:
        return 0.0
    # D_m = m D_{m-1} + (-1)^m turns the ratio into 1 / (n + (-1)^(n-1) / D_{n-2}); beyond 30 the term is below 1e-29
    small = min(n - 2, 30)
    derangements = sum((-1) ** k * (factorial(small) // factorial(k)) for k in range(small + 1))
    return float(1 / (n + Fraction((-1) ** (n - 1), derangements)))


def partner_correlation(n: int, partner: str) -> float:
    r"""Correlation of the two members given the batch: 0, or :math:`-1/(n-1)` where no example meets itself.

    Args:
        n: Batch size, >= 2; even for `flip`.
        partner: One of `BATCH_PARTNERS`.

    Returns:
        The correlation.

    Raises:
        ValueError: If the scheme is unknown or impossible.

    References:
        theory B.4.

    Example:
        >>> partner_correlation(5, "derangement")
        -0.25
    """
    return 0.0 if fixed_point_probability(n, partner) else -1 / (n - 1)


def one_sample_factor(n: int, alpha: AlphaOrLaw, partner: str = "permutation") -> Result:
    r"""Covariance of one mixed sample given the batch, over the batch covariance (divisor n).

    :math:`s` where an example may meet itself, :math:`s-(1-s)/(n-1) = (ns-1)/(n-1)` where it may not.
    Also the expected second moment about the batch mean, whatever shares lam.

    Args:
        n: Batch or data set size, >= 2; even for `flip`.
        alpha: Beta concentration(s) in [0, inf], or a law of lam (max(lam, 1 - lam) gives the same).
        partner: One of `BATCH_PARTNERS`.

    Returns:
        The factor, of the shape of alpha.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory B.4, second column.

    Example:
        >>> one_sample_factor(4, 1.0, "permutation"), one_sample_factor(4, 1.0, "flip")
        (0.666..., 0.555...)
    """
    law = as_law(alpha)
    return as_result(np.asarray(law.shrink_factor) + 2 * np.asarray(law.mean_p) * partner_correlation(n, partner))


def batch_mean_variance_factor(
    n: int,
    alpha: AlphaOrLaw,
    partner: str = "permutation",
    lam_per: str = "batch",
    lam_max: bool = False,
    num_draws: int | None = None,
) -> Result:
    r"""Variance of the mixed batch mean given the batch, over the batch covariance (divisor n).

    Zero, exactly and without expectation, for partners that are a permutation with one lam per batch or per matched
    pair. With one lam per sample :math:`2\mathrm{Var}\lambda\,(1-c)/n`, c the partner correlation. Partners drawn
    with replacement: `independent` has :math:`E(1-\lambda)^2/n`, plus :math:`\mathrm{Var}\lambda/n` for lam per
    sample; `resampled` has :math:`s/m` either way.

    Args:
        n: Batch size, >= 2; even for `flip`.
        alpha: Beta concentration(s) in [0, inf], or a law of lam.
        partner: One of `BATCH_PARTNERS`.
        lam_per: `batch`, `sample`, or `pair` (for `flip`).
        lam_max: Use max(lam, 1 - lam).
        num_draws: Number m of mixed examples for `resampled` (n when None).

    Returns:
        The factor, >= 0, of the shape of alpha.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory B.4.

    Example:
        >>> batch_mean_variance_factor(8, 1.0), round(batch_mean_variance_factor(8, 1.0, lam_per="sample"), 6)
        (0.0, 0.020833)
    """
    n, m = check_scheme(n, partner, lam_per, num_draws)
    law = weight_law(alpha, lam_max)
    if partner == "resampled":
        return as_result(np.asarray(law.shrink_factor) / m)
    spread = np.asarray(law.variance)
    if partner == "independent":
        return as_result((np.asarray(law.moment(0, 2)) + (spread if lam_per == "sample" else 0)) / n)
    each = 2 * spread * (1 - partner_correlation(n, partner)) / n
    return as_result(each if lam_per == "sample" else np.zeros_like(each))


def finite_batch_factor(
    n: int,
    alpha: AlphaOrLaw,
    partner: str = "permutation",
    lam_per: str = "batch",
    lam_max: bool = False,
    num_draws: int | None = None,
) -> Result:
    r"""Expected covariance of the mixed batch about its own mean over the original one, :math:`E[\tilde S]/\hat\Sigma`.

    `one_sample_factor` minus `batch_mean_variance_factor`, exact for every batch. With one lam per batch: s for a
    uniform permutation, :math:`(ns-1)/(n-1)` without fixed points; lam per sample takes off
    :math:`2\mathrm{Var}\lambda/n` and :math:`2\mathrm{Var}\lambda/(n-1)`. The divisor is the same on both sides.

    Args:
        n: Batch size, >= 2; even for `flip`.
        alpha: Beta concentration(s) in [0, inf], or a law of lam.
        partner: One of `BATCH_PARTNERS`.
        lam_per: `batch`, `sample`, or `pair` (for `flip`).
        lam_max: Use max(lam, 1 - lam); changes the factor for lam per sample and for `independent`.
        num_draws: Number m of mixed examples for `resampled` (n when None).

    Returns:
        The factor, of the shape of alpha.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory B.4, third and fourth column.

    Example:
        >>> finite_batch_factor(4, 1.0, lam_per="sample")
        0.625
    """
    n, _ = check_scheme(n, partner, lam_per, num_draws)
    spread = batch_mean_variance_factor(n, alpha, partner, lam_per, lam_max, num_draws)
    return as_result(np.asarray(one_sample_factor(n, alpha, partner)) - np.asarray(spread))


def unconditional_factor(n: int, alpha: AlphaOrLaw, partner: str = "permutation") -> Result:
    r"""Covariance of one mixed sample over that of the population behind the batch: :math:`s+(1-s)P(\text{self})`.

    A sample that meets itself is not mixed at all, which happens with probability 1/n or never.

    Args:
        n: Batch size, >= 2; even for `flip`.
        alpha: Beta concentration(s) in [0, inf], or a law of lam.
        partner: One of `BATCH_PARTNERS`.

    Returns:
        The factor, of the shape of alpha.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory B.4, last column.

    Example:
        >>> unconditional_factor(4, 1.0), unconditional_factor(4, 1.0, "derangement")
        (0.75, 0.666...)
    """
    law = as_law(alpha)
    return as_result(np.asarray(law.shrink_factor) + 2 * np.asarray(law.mean_p) * fixed_point_probability(n, partner))
