"""Gauss rules, peeling and splitting against exact moments and closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from mixup_theory.moments import lam_moment, mean_p_squared
from mixup_theory.quadrature import expect, expect_pieces, gauss_rule, gauss_rule_between
from mixup_theory.weights import expected_binary_entropy, expected_max_lam, lam_cdf

ALPHAS = [1e-8, 1e-3, 0.2, 0.5, 1.0, 8.0, 29.5, 1e3, 1e6]


@pytest.mark.parametrize("alpha", [1e-3, 0.5, 1.0, 1e3])
def test_gauss_rule_is_exact_to_its_degree_and_no_further(alpha: float) -> None:
    n = 6
    nodes, weights = gauss_rule(n, alpha)
    for degree in range(2 * n):
        assert weights @ nodes**degree == pytest.approx(lam_moment(degree, 0, alpha), rel=1e-12)
    k = np.arange(2, n + 1)
    squares = k * (k + 2 * alpha - 2) / ((2 * k + 2 * alpha - 1) * (2 * k + 2 * alpha - 3))
    first_error = np.prod(squares) / (2 * alpha + 1) * 4.0**-n  # theory A.2
    assert lam_moment(2 * n, 0, alpha) - weights @ nodes ** (2 * n) == pytest.approx(first_error, rel=1e-4, abs=1e-15)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_peeling_keeps_quantities_that_vanish_with_alpha(alpha: float) -> None:
    assert expect(lambda t: (t * (1 - t)) ** 2, alpha) == pytest.approx(mean_p_squared(alpha), rel=1e-12)
    assert expect_pieces(lambda t: (t * (1 - t)) ** 2, alpha, [0, 0.3, 1]) == pytest.approx(
        mean_p_squared(alpha), rel=1e-11
    )


@pytest.mark.parametrize("alpha", ALPHAS)
def test_pieces_handle_kinks(alpha: float) -> None:
    got = expect_pieces(lambda t: np.maximum(t, 1 - t), alpha, [0, 0.5, 1])
    assert got == pytest.approx(expected_max_lam(alpha), rel=1e-11)


def test_gauss_alone_does_not() -> None:
    errors = [abs(expect(lambda t: np.maximum(t, 1 - t), 1.0, n) - 0.75) for n in (17, 33, 65, 129)]
    slope = np.polyfit(np.log([17, 33, 65, 129]), np.log(errors), 1)[0]
    assert slope == pytest.approx(-2, abs=0.15)


def test_entropy_has_mild_singularities_only() -> None:
    def entropy(t: np.ndarray) -> np.ndarray:
        t = np.clip(t, 1e-300, 1 - 1e-16)
        return -t * np.log(t) - (1 - t) * np.log1p(-t)

    assert expect(entropy, 1.0, 128) == pytest.approx(expected_binary_entropy(1.0), rel=1e-7)


@pytest.mark.parametrize("alpha", [0.05, 0.7, 1.0, 12.0, 45.0])
def test_rule_between_measures_probability(alpha: float) -> None:
    for low, high in [(0, 0.1), (0.1, 0.35), (0.35, 1.0), (0.0, 1.0)]:
        _, weights = gauss_rule_between(low, high, alpha, 48)
        assert weights.sum() == pytest.approx(lam_cdf(high, alpha) - lam_cdf(low, alpha), rel=1e-10, abs=1e-14)


def test_limits_and_vector_valued_functions() -> None:
    g = lambda t: np.stack([t, t**2], axis=1)  # noqa: E731
    np.testing.assert_allclose(expect(g, 0.0), [0.5, 0.5])
    np.testing.assert_allclose(expect(g, np.inf), [0.5, 0.25])
    np.testing.assert_allclose(expect(g, 0.3), [0.5, lam_moment(2, 0, 0.3)], rtol=1e-14)
    np.testing.assert_allclose(expect_pieces(g, 0.3, [0, 1]), [0.5, lam_moment(2, 0, 0.3)], rtol=1e-13)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="`num_nodes` must be a whole number >= 1, got 0"):
        gauss_rule(0, 1.0)
    with pytest.raises(ValueError, match="`alpha` must be one number"):
        gauss_rule(3, [1.0, 2.0])
    with pytest.raises(ValueError, match="one value per node"):
        expect(lambda t: 1.0, 1.0)
    for knots in ([0, 0.5], [0, 0.7, 0.6, 1], [0.1, 1]):
        with pytest.raises(ValueError, match="`knots` must increase strictly from 0 to 1"):
            expect_pieces(np.cos, 1.0, knots)
    with pytest.raises(ValueError, match="0 <= low < high <= 1"):
        gauss_rule_between(0.5, 0.5, 1.0)
    with pytest.raises(ValueError, match="limits are point masses"):
        gauss_rule_between(0.0, 0.5, np.inf)
