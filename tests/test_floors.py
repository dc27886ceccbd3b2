"""Entropies of mixed labels against enumerated pairs, quadrature, theory F.6 and F.7, and a planted collision."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import entr
from scipy.stats import beta

from mixup_theory.cross_entropy import cross_entropy_floor
from mixup_theory.floors import (
    cross_entropy_parts,
    derive_expected_label_entropy,
    different_class_probability,
    expected_label_entropy,
    mean_max_label,
    smoothed_label_entropy,
)
from mixup_theory.mixing import draw_partner
from mixup_theory.weights import expected_binary_entropy, expected_max_lam, sample_lam


@pytest.mark.parametrize("counts", [[1, 1], [5, 3], [3, 2, 1], [4, 0, 2]])
def test_different_class_probability_by_enumeration(counts: list[int]) -> None:
    classes = np.repeat(np.arange(len(counts)), counts)
    n = len(classes)
    pairs = list(product(range(n), repeat=2))
    with_self = np.mean([classes[i] != classes[j] for i, j in pairs])
    without = np.mean([classes[i] != classes[j] for i, j in pairs if i != j])
    for partner in ("independent", "permutation"):
        assert different_class_probability(counts, partner) == pytest.approx(with_self, rel=1e-14)
    for partner in ("derangement", "roll", *(("flip",) if n % 2 == 0 else ())):
        assert different_class_probability(counts, partner) == pytest.approx(without, rel=1e-14)


@pytest.mark.parametrize("partner", ["permutation", "derangement", "flip", "roll"])
def test_different_class_probability_by_drawing_partners(partner: str) -> None:
    rng = np.random.default_rng(4)
    classes = np.repeat([0, 1, 2], [3, 2, 1])
    means = []
    for _ in range(4000):
        shuffled = rng.permutation(classes)
        means.append(np.mean(shuffled != shuffled[draw_partner(rng, 6, partner)]))
    error = np.std(means) / np.sqrt(len(means))
    assert abs(np.mean(means) - different_class_probability([3, 2, 1], partner)) < 6 * error


def test_weights_serve_where_self_pairs_occur() -> None:
    assert different_class_probability([0.2, 0.3, 0.5]) == pytest.approx(1 - 0.04 - 0.09 - 0.25, rel=1e-14)
    assert different_class_probability(np.full(1000, 1e-3)) == pytest.approx(0.999, rel=1e-12)
    assert different_class_probability([7]) == 0.0


def test_labels_of_drawn_pairs() -> None:
    rng = np.random.default_rng(8)
    n, alpha, counts = 200_000, 0.4, np.array([5.0, 3.0, 2.0])
    first, second = rng.choice(3, (2, n), p=counts / 10)
    lam, rest = sample_lam(rng, n, alpha)
    labels = lam[:, None] * np.eye(3)[first] + rest[:, None] * np.eye(3)[second]
    for sample, predicted in (
        (labels.max(axis=1), mean_max_label(alpha, counts)),
        (entr(labels).sum(axis=1), expected_label_entropy(alpha, counts)),
        (entr(0.8 * labels + 0.2 / 3).sum(axis=1), smoothed_label_entropy(alpha, 0.2, counts)),
    ):
        assert abs(sample.mean() - predicted) < 6 * sample.std() / np.sqrt(n)


def test_balanced_closed_forms() -> None:
    for k in (2, 10, 100):
        assert expected_label_entropy(1.0, np.ones(k)) == pytest.approx((k - 1) / (2 * k), rel=1e-14)
        wanted = 1 / k + (1 - 1 / k) * expected_max_lam(0.2)
        assert mean_max_label(0.2, np.ones(k)) == pytest.approx(wanted, rel=1e-14)
    assert cross_entropy_floor(0.7) == pytest.approx(expected_label_entropy(0.7, [1, 1], "derangement"), rel=1e-14)


def test_limits() -> None:
    ends = [0.0, np.inf]
    np.testing.assert_allclose(expected_label_entropy(ends, [1, 1]), [0, np.log(2) / 2], rtol=1e-15)
    np.testing.assert_allclose(mean_max_label(ends, [1, 1]), [1, 0.75], rtol=1e-15)
    near = [np.pi**2 / 12 * 1e-8, np.log(2) / 2]
    np.testing.assert_allclose(expected_label_entropy([1e-8, 1e6], [1, 1]), near, rtol=1e-6)
    np.testing.assert_allclose(smoothed_label_entropy(ends, 1.0, np.ones(5)), np.log(5), rtol=1e-14)
    smooth = smoothed_label_entropy(ends, 0.1, np.ones(5))
    np.testing.assert_allclose(smoothed_label_entropy([1e-8, 1e6], 0.1, np.ones(5)), smooth, rtol=1e-6)


@pytest.mark.parametrize("alpha", [0.3, 1.0, 2.0, 50.0])
@pytest.mark.parametrize("eps", [1e-6, 0.05, 0.5])
def test_smoothing_against_quadrature(alpha: float, eps: float) -> None:
    k = 4

    def entropy(lam: float) -> float:
        label = np.array([lam, 1 - lam, 0, 0])
        return float(entr((1 - eps) * label + eps / k).sum())

    def substituted(z: float, sign: float) -> float:  # lam = z^(1 / alpha): the density becomes smooth at the end
        lam = z ** (1 / alpha)
        return entropy(lam) * (1 - lam) ** (alpha - 1) / alpha * sign

    if alpha < 1:
        mixed = quad(substituted, 0, 0.5**alpha, args=(1.0,), epsabs=1e-13, epsrel=1e-12, limit=500)[0]
        mixed /= quad(lambda z: substituted(z, 1.0) / entropy(z ** (1 / alpha)), 0, 0.5**alpha, limit=500)[0]
    else:
        law = beta(alpha, alpha)
        points = [1e-6, 1e-3, 0.4, 0.5, 0.6, 1 - 1e-3, 1 - 1e-6]
        mixed = quad(lambda t: law.pdf(t) * entropy(t), 0, 1, points=points, epsabs=1e-12, epsrel=1e-11, limit=500)[0]
    wanted = 0.75 * mixed + 0.25 * entropy(1.0)
    assert smoothed_label_entropy(alpha, eps, np.ones(k)) == pytest.approx(wanted, rel=1e-8)


def test_no_smoothing_is_the_closed_form_and_smoothing_is_continuous() -> None:
    assert smoothed_label_entropy(0.3, 0.0, [2, 1]) == expected_label_entropy(0.3, [2, 1])
    near = smoothed_label_entropy(0.3, [1e-13, 1e-15], [2, 1])
    np.testing.assert_allclose(near, expected_label_entropy(0.3, [2, 1]), rtol=1e-11)
    assert smoothed_label_entropy([[0.3], [1.0]], [0.0, 0.1], [2, 1]).shape == (2, 2)


def test_cross_entropy_parts_add_up() -> None:
    rng = np.random.default_rng(1)
    labels, predictions = rng.dirichlet(np.ones(3), 40), rng.dirichlet(np.ones(3), 8)
    cells, weights = np.concatenate([np.arange(7), rng.integers(0, 7, 33)]), rng.random(40)
    parts = cross_entropy_parts(labels, cells, predictions, weights)
    w = weights / weights.sum()
    direct = -np.sum(w[:, None] * labels * np.log(predictions[cells]))
    assert parts.total == pytest.approx(direct, rel=1e-13)
    assert min(parts.label_entropy, parts.collision, parts.excess) >= 0
    best = cross_entropy_parts(labels, cells, parts.optimum, weights)
    assert best.excess == pytest.approx(0, abs=1e-15)
    assert best.total == pytest.approx(parts.floor, rel=1e-13)
    for k in range(7):
        mine = cells == k
        np.testing.assert_allclose(parts.optimum[k], (w[mine, None] * labels[mine]).sum(0) / w[mine].sum(), rtol=1e-12)


def test_cross_entropy_parts_without_collisions() -> None:
    """Every mixed input its own cell: the floor is the label entropy, as for generic data in high dimension."""
    rng = np.random.default_rng(2)
    lam, rest = sample_lam(rng, 3000, 1.0)
    labels = np.column_stack([lam, rest])
    parts = cross_entropy_parts(labels, np.arange(3000), labels)
    assert parts.collision == pytest.approx(0, abs=1e-15)
    sample = entr(labels).sum(axis=1)
    assert abs(parts.floor - expected_binary_entropy(1.0)) < 6 * sample.std() / np.sqrt(3000)
    impossible = cross_entropy_parts([[1.0, 0.0]], [0], [[0.0, 1.0]])
    assert impossible.excess == np.inf


def test_the_derivation_ends_in_the_shipped_function() -> None:
    result = derive_expected_label_entropy().verify().result
    (alpha,) = result.free_symbols
    for value in (0.01, 0.4, 1.0, 25.0):
        wanted = expected_label_entropy(value, [1, 1], "derangement")
        assert float(result.subs(alpha, value)) == pytest.approx(wanted, rel=1e-12)
        density = beta(value, value)
        if value >= 1:
            direct = quad(lambda t, f=density.pdf: f(t) * (entr(t) + entr(1 - t)), 0, 1)[0]
            assert wanted == pytest.approx(direct, rel=1e-8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: different_class_probability([]), "`counts` must not be empty"),
        (lambda: different_class_probability([0, 0]), "positive sum"),
        (lambda: different_class_probability([-1, 2]), "`counts` must be"),
        (lambda: different_class_probability([1.5, 2], "roll"), "whole numbers"),
        (lambda: different_class_probability([2, 1], "flip"), "must be even"),
        (lambda: different_class_probability([1, 0], "derangement"), "`n` must be"),
        (lambda: different_class_probability([2, 1], "friend"), "`partner` must be"),
        (lambda: mean_max_label(-1.0, [1, 1]), "`alpha` must be"),
        (lambda: smoothed_label_entropy(1.0, 1.5, [1, 1]), "`smoothing` must be in"),
        (lambda: smoothed_label_entropy(np.nan, 0.5, [1, 1]), "`alpha` must be"),
        (lambda: cross_entropy_parts([[0.5, 0.6]], [0], [[0.5, 0.5]]), "rows that sum to 1"),
        (lambda: cross_entropy_parts([[0.5, 0.5]], [1], [[0.5, 0.5]]), "`predictions` must have"),
        (lambda: cross_entropy_parts([[0.5, 0.5]], [0.0], [[0.5, 0.5]]), "`cells` must be"),
        (lambda: cross_entropy_parts([[0.5, 0.5]], [0], [[0.5, 0.5]], [0.0]), "`weights` must have"),
        (lambda: cross_entropy_parts([[0.5, 0.5]], [0], [[0.2, 0.3, 0.5]]), "`predictions` must have"),
    ],
)
def test_bad_input(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
