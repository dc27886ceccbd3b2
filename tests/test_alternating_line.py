"""The mixup optimum on a labelled line against theory F.5, direct sums over pairs, quadrature and Monte Carlo."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import betainc, ndtri
from scipy.stats import beta

from mixup_theory.alternating_line import (
    check_line,
    line_critical_alpha,
    line_critical_alpha_asymptote,
    line_label,
    line_pairs,
    line_window_label,
)
from mixup_theory.weights import sample_lam

SIX = ([0, 1, 2, 3, 4, 5], [0, 1, 0, 1, 0, 1])
UNEVEN = ([0.0, 0.3, 1.1, 4.0], [0.2, 1.0, 0.0, 0.7])


def direct_label(x: float, alpha: float, points: list, labels: list) -> float:
    """The ratio of sums over ordered pairs, with scipy's density."""
    mass = label = 0.0
    for (p, a), (r, b) in product(zip(points, labels, strict=True), repeat=2):
        if p != r and min(p, r) < x < max(p, r):
            t = (x - r) / (p - r)
            weight = beta.pdf(t, alpha, alpha) / abs(p - r)
            mass += weight
            label += weight * (t * a + (1 - t) * b)
    return label / mass


def test_printed_values() -> None:
    np.testing.assert_allclose(
        line_label(2.3, [0.5, 1.0, 3.0], *SIX), [0.406992, 0.437778, 0.508064], atol=5.1e-7, rtol=0
    )
    got = line_critical_alpha([0.05, 0.1, 0.2])
    np.testing.assert_allclose(got, [91.1231070415, 22.8813067541, 6.18974911692], rtol=1e-11)


@pytest.mark.parametrize("alpha", [0.05, 1.0, 2.5, 60.0])
def test_labels_against_direct_sums(alpha: float) -> None:
    for points, labels in (([0.0, 1.0, 2.0], [0, 1, 0]), SIX, UNEVEN):
        x = np.linspace(points[0], points[-1], 14)[1:-1] + 0.007
        wanted = [direct_label(at, alpha, points, labels) for at in x]
        np.testing.assert_allclose(line_label(x, alpha, points, labels), wanted, rtol=1e-10)


def test_three_points_by_hand() -> None:
    x, a = 0.37, 2.2
    ratio = (x / 2 * (1 - x / 2) / (x * (1 - x))) ** (a - 1)
    assert line_label(x, a) == pytest.approx(x / (1 + ratio / 2), rel=1e-13)
    assert line_label(x, a) == pytest.approx(line_label(2 - x, a), rel=1e-13)
    assert line_label(1 - 1e-9, [0.5, 1.0, 2.0]) == pytest.approx([1, 2 / 3, 0], abs=1e-4)


def test_data_points() -> None:
    alphas = [0.0, 0.5, 1.0, 2.0, np.inf]
    assert line_label(1.0, alphas).tolist() == [1.0] * 5  # the atom fits the data for every alpha
    assert line_label([0.0, 2.0], 3.0).tolist() == [0.0, 0.0]
    alone = line_label(1.0, alphas, self_pairs=False)
    np.testing.assert_allclose(alone, [1, 1, 2 / 3, 0, 0], rtol=1e-15)
    shrinking = line_window_label(1.0, 1e-7, [0.2, 1.0, 2.0], self_pairs=False)
    np.testing.assert_allclose(shrinking, line_label(1.0, [0.2, 1.0, 2.0], self_pairs=False), atol=1e-4)
    assert line_label(1.0, 0.3, [0, 1, 1, 2], [0, 1, 0, 0]) == 0.5  # two examples at one place


@pytest.mark.parametrize("alpha", [1e-8, 0.2, 1.0, 30.0, 1e6])
def test_limits_are_approached(alpha: float) -> None:
    x = np.array([0.2, 0.9, 1.7, 3.0])
    limit = {1e-8: 0.0, 1e6: np.inf}.get(alpha)
    if limit is not None:
        np.testing.assert_allclose(line_label(x, alpha, *UNEVEN), line_label(x, limit, *UNEVEN), rtol=1e-6)
    assert np.all(np.isfinite(line_label(x, alpha, *UNEVEN)))


@pytest.mark.parametrize("alpha", [0.05, 0.7, 1.0, 6.0, 300.0])
@pytest.mark.parametrize("self_pairs", [True, False])
def test_windows_against_quadrature(alpha: float, self_pairs: bool) -> None:
    points, labels = UNEVEN
    for x, eps in ((0.3, 0.2), (2.0, 0.4), (3.9, 0.3)):
        mass = label = 0.0
        for i, j in product(range(4), repeat=2):
            if i == j:
                mass += self_pairs * (abs(points[i] - x) < eps)
                label += self_pairs * (abs(points[i] - x) < eps) * labels[i]
                continue
            gap = points[i] - points[j]
            low, high = np.clip(sorted([(x - eps - points[j]) / gap, (x + eps - points[j]) / gap]), 0, 1)
            inside = betainc(alpha, alpha, high) - betainc(alpha, alpha, low)
            centre = beta.expect(lambda t: t, (alpha, alpha), lb=low, ub=high) if inside > 1e-12 else 0.0
            mass += inside
            label += centre * labels[i] + (inside - centre) * labels[j]
        if mass > 1e-6:
            got = line_window_label(x, eps, alpha, points, labels, self_pairs=self_pairs)
            assert got == pytest.approx(label / mass, rel=1e-6, abs=1e-8)


def test_three_point_window_by_the_printed_formula() -> None:
    for alpha, eps in product((1e-3, 0.3, 1.0, 4.0, 32.0), (0.01, 0.2, 0.7)):
        m01 = 1 - betainc(alpha, alpha, 1 - eps)
        l01 = 0.5 * (1 - betainc(alpha + 1, alpha, 1 - eps))
        m02 = betainc(alpha, alpha, (1 + eps) / 2) - betainc(alpha, alpha, (1 - eps) / 2)
        wanted = (1 + 4 * l01) / (1 + 4 * m01 + 2 * m02)
        assert line_window_label(1.0, eps, alpha) == pytest.approx(wanted, rel=1e-12)


def test_window_against_monte_carlo() -> None:
    rng = np.random.default_rng(3)
    points, labels = np.array(UNEVEN[0]), np.array(UNEVEN[1])
    i, j = rng.integers(0, 4, (2, 400_000))
    lam, rest = sample_lam(rng, 400_000, 0.8)
    inside = np.abs(lam * points[i] + rest * points[j] - 0.5) < 0.3
    label = (lam * labels[i] + rest * labels[j])[inside]
    predicted = line_window_label(0.5, 0.3, 0.8, *UNEVEN)
    assert abs(label.mean() - predicted) < 6 * label.std() / np.sqrt(inside.sum())


def test_the_window_is_the_average_of_the_label() -> None:
    alpha, low, high = 1.7, 0.45, 0.75

    def density(x: float) -> float:
        return 2 * beta.pdf(x, alpha, alpha) + 2 * beta.pdf(x / 2, alpha, alpha) / 2

    top = quad(lambda x: density(x) * line_label(x, alpha), low, high)[0]
    wanted = top / quad(density, low, high)[0]
    assert line_window_label(0.6, 0.15, alpha, self_pairs=False) == pytest.approx(wanted, rel=1e-10)


def test_window_limits() -> None:
    assert line_window_label(1.0, 0.2, [0.0, 1e-300, np.inf, 1e30]) == pytest.approx([1, 1, 1 / 3, 1 / 3], rel=1e-15)
    np.testing.assert_allclose(
        line_window_label(1.0, 0.2, [1e-8, 1e6]), line_window_label(1.0, 0.2, [0.0, np.inf]), rtol=1e-7
    )
    assert line_window_label(0.0, 0.1, 0.0) == 0.0
    assert line_window_label([0.1, 1.0], [[0.2], [0.3]], 1.0).shape == (2, 2)


def test_critical_alpha() -> None:
    eps = np.array([0.003, 0.03, 0.3, 0.9])
    assert line_window_label(1.0, eps, line_critical_alpha(eps)) == pytest.approx([0.5] * 4, abs=1e-12)
    gaps = line_critical_alpha([1e-2, 1e-3, 1e-4]) - line_critical_alpha_asymptote([1e-2, 1e-3, 1e-4])
    np.testing.assert_allclose(gaps, gaps[0], atol=0.01)  # the next term is a constant
    assert line_critical_alpha_asymptote(0.1) == pytest.approx(ndtri(0.75) ** 2 / 0.02, rel=1e-15)
    assert line_critical_alpha(0.084) == pytest.approx(32, rel=0.02)  # where published networks fail
    island = ([0, 1, 2, 3, 4], [1, 1, 0, 1, 1])
    inner = line_critical_alpha(0.1, *island, x=2.0)
    assert line_window_label(2.0, 0.1, inner, *island) == pytest.approx(0.5, abs=1e-12)


def test_pairs_and_order() -> None:
    low, high, first, last = line_pairs([0.0, 1.0, 3.0], [5.0, 6.0, 7.0])
    assert (low.tolist(), high.tolist()) == ([0, 0, 1], [1, 3, 3])
    assert (first.tolist(), last.tolist()) == ([5, 5, 6], [6, 7, 7])
    points, labels = check_line([2.0, 0.0, 1.0], [0.1, 0.2, 0.3])
    assert (points.tolist(), labels.tolist()) == ([0, 1, 2], [0.2, 0.3, 0.1])
    assert line_label(0.4, 2.0, [2, 0, 1], [0, 0, 1]) == line_label(0.4, 2.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: line_label(2.1, 1.0), "`x` must be in"),
        (lambda: line_label(0.5, -1.0), "`alpha` must be"),
        (lambda: line_label(0.5, 1.0, [0, 1], [0, 2]), "`labels` must be in"),
        (lambda: line_label(0.5, 1.0, [0, 1], [0]), "one per label"),
        (lambda: line_label(0.5, 1.0, [1, 1], [0, 1]), "two distinct positions"),
        (lambda: line_window_label(1.0, 0.0, 1.0), "`eps` must be"),
        (lambda: line_window_label(9.0, 0.1, 1.0), "some mixed point"),
        (lambda: line_window_label(0.3, 0.1, np.inf, self_pairs=False), "some mixed point"),
        (lambda: line_critical_alpha(1.0), "crosses 1/2"),
        (lambda: line_critical_alpha(0.1, *SIX, x=2.0), "crosses 1/2"),
        (lambda: line_critical_alpha([0.1, -0.1]), "`eps` must be"),
        (lambda: line_critical_alpha_asymptote("0.1"), "`eps` must be"),
    ],
)
def test_bad_input(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
