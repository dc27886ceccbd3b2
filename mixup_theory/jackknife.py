r"""Unbiased means, squared means and covariance traces of independent vectors, with jackknife standard errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import check_array, check_integer

__all__ = ["Estimate", "estimate", "mean_replicates", "squared_mean_replicates", "trace_replicates"]

Replicates = NDArray[np.float64]  # the value, then the value without each block in turn: linear ones add up


@dataclass(frozen=True)
class Estimate:
    """An estimate and its standard error.

    Attributes:
        value: The estimate.
        standard_error: Its standard error; 0 where the value is exact.
    """

    value: float
    standard_error: float


def estimate(replicates: ArrayLike) -> Estimate:
    r"""Turn jackknife replicates into an estimate: :math:`SE^2=\frac{B-1}B\sum_b(v_b-\bar v)^2`.

    The squared error is not too small on average (Efron and Stein 1981); for a squared mean that is truly 0 it is
    about twice too large.

    Args:
        replicates: The value, then the value without each of B >= 3 blocks, shape [B + 1].

    Returns:
        The estimate.

    Raises:
        ValueError: If there are fewer than three blocks.

    Example:
        >>> round(estimate(mean_replicates([1.0, 2.0, 3.0])).standard_error, 6)  # s / sqrt(3)
        0.57735
    """
    values = check_array("replicates", replicates, 1)
    b = check_integer("number of blocks", len(values) - 1, 3)
    left = values[1:]
    return Estimate(float(values[0]), float(np.sqrt((b - 1) / b * np.sum((left - left.mean()) ** 2))))


def mean_replicates(sums: ArrayLike, count: int = 1) -> Replicates:
    """Replicates of a mean.

    Args:
        sums: Sum of the values in each of B >= 2 blocks, shape [B].
        count: Values per block, >= 1.

    Returns:
        The mean, then the mean without each block, shape [B + 1].

    Raises:
        ValueError: If there are fewer than two blocks.

    Example:
        >>> mean_replicates([1.0, 2.0, 6.0]).tolist()
        [3.0, 4.0, 3.5, 1.5]
    """
    blocks = check_array("sums", sums, 1)
    m, count = check_integer("number of blocks", len(blocks), 2) * count, check_integer("count", count, 1)
    total = blocks.sum()
    return np.concatenate([[total / m], (total - blocks) / (m - count)])


def squared_mean_replicates(sums: ArrayLike, squares: ArrayLike, count: int = 1) -> Replicates:
    r"""Replicates of the unbiased estimate of :math:`\lVert E a\rVert^2` from m i.i.d. vectors.

    :math:`\sum_{r\ne s}a_r^\top a_s/(m(m-1))`: only products of different vectors, so their noise does not add up.
    May be negative where the mean is near 0.

    Args:
        sums: Sum of the vectors in each of B >= 3 blocks, shape [B, d].
        squares: Sum of their squared norms in each block, shape [B].
        count: Vectors per block, >= 1.

    Returns:
        The estimate, then the estimate without each block, shape [B + 1].

    Raises:
        ValueError: If there are fewer than three blocks or the shapes differ.

    Example:
        >>> squared_mean_replicates([[1.0], [3.0], [2.0]], [1.0, 9.0, 4.0])[0]  # (6^2 - 14) / 6
        np.float64(3.666...)
    """
    blocks, own = check_array("sums", sums, 2), check_array("squares", squares, 1)
    b, count = check_integer("number of blocks", len(blocks), 3), check_integer("count", count, 1)
    if len(own) != b:
        raise ValueError(f"`squares` must have one value per block, {b}, got {len(own)}.")
    total = blocks.sum(axis=0)
    whole = total @ total
    m, less = b * count, (b - 1) * count
    left = whole - 2 * blocks @ total + np.sum(blocks**2, axis=1) - (own.sum() - own)
    return np.concatenate([[(whole - own.sum()) / (m * (m - 1))], left / (less * (less - 1))])


def trace_replicates(rows: ArrayLike) -> Replicates:
    r"""Replicates of the unbiased covariance trace :math:`\sum_r\lVert a_r-\bar a\rVert^2/(R-1)` of i.i.d. vectors.

    Args:
        rows: The vectors, shape [R, d], R >= 3.

    Returns:
        The trace, then the trace without each row, shape [R + 1].

    Raises:
        ValueError: If there are fewer than three rows.

    Example:
        >>> trace_replicates([[1.0], [2.0], [3.0]]).round(12).tolist()
        [1.0, 0.5, 2.0, 0.5]
    """
    vectors = check_array("rows", rows, 2)
    vectors = vectors - vectors.mean(axis=0)  # the trace does not see the shift; its digits do
    squares = np.sum(vectors**2, axis=1)
    return mean_replicates(squares) - squared_mean_replicates(vectors, squares)
