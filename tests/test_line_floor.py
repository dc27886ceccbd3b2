"""The exact floor on a line against theory F.7, adaptive quadrature, Monte Carlo and both limits."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import entr
from scipy.stats import beta, norm

from mixup_theory.alternating_line import line_label, line_pairs
from mixup_theory.floors import expected_label_entropy
from mixup_theory.line_floor import line_cross_entropy_floor

LINES = [([0.0, 1.0, 2.0], [0, 1, 0]), ([0.0, 1.0, 2.0, 3.0], [0, 1, 0, 1]), ([0.0, 0.4, 1.7], [1, 0.3, 0])]


def entropy(g: float) -> float:
    return float(entr(g) + entr(1 - g))


def test_printed_values() -> None:
    got = line_cross_entropy_floor([0.5, 1.0, 3.0])
    np.testing.assert_allclose(got, [0.280111829709, 0.362402674654, 0.402580609244], rtol=2e-12)
    bound = expected_label_entropy([0.5, 1.0, 3.0], [2, 1])
    np.testing.assert_allclose(bound, [0.171686, 0.222222, 0.274074], atol=5.1e-7, rtol=0)
    assert np.all(got > bound)


@pytest.mark.parametrize("alpha", [0.4, 1.0, 7.0, 60.0])
@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("self_pairs", [True, False])
def test_against_adaptive_quadrature(alpha: float, line: tuple, self_pairs: bool) -> None:
    points, labels = line
    n = len(points)
    p, r, *_ = line_pairs(points, labels)

    def integrand(x: float) -> float:
        around = (p < x) & (x < r)
        densities = beta.pdf((x - p[around]) / (r - p)[around], alpha, alpha) / (r - p)[around]
        return 2 * densities.sum() * entropy(line_label(x, alpha, points, labels))

    total = self_pairs * sum(entropy(label) for label in labels)
    for low, high in pairwise(points):
        middle = [m for m in (p + r) / 2 if low < m < high] or [(low + high) / 2]
        for a, b in pairwise([low, *np.unique(middle), high]):
            total += quad(integrand, a + 1e-13, b - 1e-13, limit=400, epsabs=1e-9, epsrel=1e-8)[0]
    wanted = total / (n * n if self_pairs else n * (n - 1))
    got = line_cross_entropy_floor(alpha, points, labels, self_pairs=self_pairs)
    assert got == pytest.approx(wanted, rel=1e-7, abs=1e-5 if labels[1] == 0.3 and alpha < 1 else 1e-8)


def test_against_monte_carlo() -> None:
    rng = np.random.default_rng(9)
    points, labels = np.array(LINES[1][0]), np.array(LINES[1][1])
    i, j = rng.integers(0, 4, (2, 4000))
    lam = rng.beta(2.0, 2.0, 4000)
    x = np.where(i == j, points[i], lam * points[i] + (1 - lam) * points[j])
    g = line_label(np.clip(x, 0, 3), 2.0, points, labels)
    sample = entr(g) + entr(1 - g)
    assert abs(sample.mean() - line_cross_entropy_floor(2.0, points, labels)) < 6 * sample.std() / np.sqrt(4000)


def test_small_alpha_is_first_order() -> None:
    small = line_cross_entropy_floor([1e-4, 1e-6, 1e-8, 1e-100]) / [1e-4, 1e-6, 1e-8, 1e-100]
    np.testing.assert_allclose(small[1:], small[-1], rtol=1e-5)
    assert line_cross_entropy_floor(0.0) == 0.0
    soft = ([0.0, 0.4, 1.7], [1, 0.3, 0.9])
    clean = np.mean([entropy(label) for label in soft[1]])
    assert line_cross_entropy_floor(0.0, *soft) == pytest.approx(clean, rel=1e-14)
    assert line_cross_entropy_floor(1e-12, *soft) == pytest.approx(clean, rel=1e-10)


def test_infinite_alpha_is_the_limit_of_narrow_peaks() -> None:
    """0, 1, 2, 3: pairs (0,3) and (1,2) share the midpoint 1.5; pair (0,2) meets the atom at 1, which stands apart."""
    points, labels = LINES[1][0], [0, 1, 1, 1]

    def shared(z: float) -> float:
        wide, narrow = norm.pdf(z, 0, 3), norm.pdf(z, 0, 1)
        return (wide + narrow) * entropy((0.5 * wide + 1.0 * narrow) / (wide + narrow))

    alone = 2 * np.log(2) + 2 * np.log(2)  # (0,1) at 1/2, (0,2) at 1: label 1/2; (1,3) at 2 and (2,3): label 1
    wanted = (alone + 2 * quad(shared, -40, 40, epsabs=1e-12, limit=200)[0]) / 16
    assert line_cross_entropy_floor(np.inf, points, labels) == pytest.approx(wanted, rel=1e-9)
    gaps = line_cross_entropy_floor([1e4, 1e6], points, labels) - wanted
    assert abs(gaps[1]) < 1e-6
    assert abs(gaps[1]) < abs(gaps[0])


def test_continuity_where_the_panels_change() -> None:
    below, above = line_cross_entropy_floor([4 - 1e-9, 4 + 1e-9])
    assert below == pytest.approx(above, abs=1e-10)


def test_duplicates_and_shapes() -> None:
    twice = line_cross_entropy_floor(1.0, [0, 0, 1, 1], [0, 1, 0, 1])
    assert twice == pytest.approx(np.log(2), rel=1e-12)  # labels that say nothing
    doubled = line_cross_entropy_floor([[0.5], [2.0]], [0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 0, 0])
    np.testing.assert_allclose(doubled, line_cross_entropy_floor([[0.5], [2.0]]), rtol=1e-12)
    assert doubled.shape == (2, 1)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="`alpha` must be"):
        line_cross_entropy_floor(np.nan)
    with pytest.raises(ValueError, match="two distinct positions"):
        line_cross_entropy_floor(1.0, [1.0], [0.0])
