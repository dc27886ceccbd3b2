"""Jackknife estimates against loops that leave blocks out, and their spread against simulation."""

from __future__ import annotations

import numpy as np
import pytest

from mixup_theory.jackknife import estimate, mean_replicates, squared_mean_replicates, trace_replicates

ROWS = np.random.default_rng(30).normal(0.5, 1.0, (12, 3))


def squared_mean(rows):
    """Average the products of different rows, one pair at a time."""
    n = len(rows)
    return sum(rows[i] @ rows[j] for i in range(n) for j in range(n) if i != j) / (n * (n - 1))


@pytest.mark.parametrize("count", [1, 2, 4])
def test_squared_mean_against_loops(count):
    blocks = ROWS.reshape(-1, count, 3)
    got = squared_mean_replicates(blocks.sum(axis=1), np.sum(blocks**2, axis=(1, 2)), count)
    expected = [squared_mean(ROWS)]
    expected += [squared_mean(np.delete(blocks, b, axis=0).reshape(-1, 3)) for b in range(len(blocks))]
    np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize("count", [1, 3])
def test_mean_against_loops(count):
    blocks = ROWS[:, 0].reshape(-1, count)
    expected = [blocks.mean()] + [np.delete(blocks, b, axis=0).mean() for b in range(len(blocks))]
    np.testing.assert_allclose(mean_replicates(blocks.sum(axis=1), count), expected, rtol=1e-12)


def test_trace_against_loops_even_far_from_zero():
    for shift in (0.0, 1e6):
        rows = ROWS + shift
        expected = [np.trace(np.cov(rows.T))]
        expected += [np.trace(np.cov(np.delete(rows, r, axis=0).T)) for r in range(len(rows))]
        np.testing.assert_allclose(trace_replicates(rows), expected, rtol=1e-12 if shift == 0 else 1e-8)


def test_standard_error_of_a_mean_is_the_usual_one():
    values = ROWS[:, 0]
    got = estimate(mean_replicates(values))
    np.testing.assert_allclose(got.standard_error, values.std(ddof=1) / np.sqrt(len(values)), rtol=1e-12)


def spread_and_error(mean, replicates_of):
    """Bias in standard errors, and root mean square error estimate over the true spread, of 1500 repeats."""
    rng = np.random.default_rng(31)
    rows = [np.array(mean) + np.array([1.0, 2.0]) * rng.normal(size=(40, 2)) for _ in range(1500)]
    estimates = [estimate(replicates_of(r)) for r in rows]
    values, errors = (np.array([getattr(e, name) for e in estimates]) for name in ("value", "standard_error"))
    return values.mean(), values.std(ddof=1), np.sqrt(np.mean(errors**2)) / values.std(ddof=1)


def squares_of(rows):
    return squared_mean_replicates(rows, np.sum(rows**2, axis=1))


def test_estimates_are_unbiased_and_their_errors_match_the_spread():
    # a standard deviation over 1500 repeats has a relative error of about 2 %
    for truth, replicates_of in ((5.0, trace_replicates), (2.33, squares_of)):
        mean, spread, ratio = spread_and_error([1.3, -0.8], replicates_of)
        assert abs(mean - truth) < 6 * spread / np.sqrt(1500)
        assert 0.93 < ratio < 1.12


def test_the_error_of_a_squared_mean_near_zero_is_too_large_rather_than_too_small():
    mean, spread, ratio = spread_and_error([0.0, 0.0], squares_of)
    assert abs(mean) < 6 * spread / np.sqrt(1500)
    assert 1.0 < ratio < 1.5  # sqrt(2) when the mean is 0: the jackknife errs on the safe side


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: estimate([1.0, 2.0, 3.0]), "`number of blocks`"),
        (lambda: mean_replicates([1.0]), "`number of blocks`"),
        (lambda: mean_replicates([1.0, 2.0], 0), "`count`"),
        (lambda: squared_mean_replicates(np.ones((3, 2)), [1.0, 2.0]), "`squares`"),
        (lambda: squared_mean_replicates(np.ones((2, 2)), [1.0, 2.0]), "`number of blocks`"),
        (lambda: trace_replicates([[np.nan], [1.0], [2.0]]), "`rows`"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
