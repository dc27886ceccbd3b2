"""Spectra, separation and readout variance against clouds made by hand, numpy and scikit-learn, and under rotation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from mixup_theory.experiments.representation import (
    as_vectors,
    class_separation,
    class_spectra,
    class_summary,
    num_directions,
    participation_ratio,
    readout_variance,
)
from mixup_theory.manifold_construction import manifold_construction


def cloud(rng: np.random.Generator, n: int = 60, d: int = 5, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(n) % classes
    return rng.standard_normal((n, d)) * np.arange(1, d + 1) + 4 * rng.standard_normal((classes, d))[labels], labels


def rotation(rng: np.random.Generator, d: int) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((d, d)))[0]


def test_spectrum_of_a_cloud_made_to_have_it() -> None:
    """Points at +-sigma_k along the axes of a rotated frame: the spectrum is known, whatever the centre."""
    rng, sigma = np.random.default_rng(0), np.array([3.0, 2.0, 0.5, 0.0])
    frame = rotation(rng, 4)
    corners = np.sqrt(4) * np.concatenate([np.diag(sigma), -np.diag(sigma)])  # 8 points: sum of squares 8 sigma^2
    states = np.concatenate([corners @ frame + 7, 2 * corners @ frame - 5])
    got = class_spectra(states, np.repeat([4, 9], 8))
    np.testing.assert_allclose(got, [sigma, 2 * sigma], atol=1e-12)


def test_spectrum_is_that_of_the_covariance() -> None:
    states, labels = cloud(np.random.default_rng(1))
    for row, name in zip(class_spectra(states, labels), range(3), strict=True):
        wanted = np.linalg.eigvalsh(np.cov(states[labels == name].T, bias=True))[::-1]
        np.testing.assert_allclose(row**2, wanted, rtol=1e-10)


def test_fewer_points_than_dimensions_leave_zeros() -> None:
    states = np.random.default_rng(2).standard_normal((3, 6))
    spectrum = class_spectra(states, np.zeros(3, dtype=int))[0]
    assert np.all(spectrum[:2] > 0.1)
    np.testing.assert_allclose(spectrum[2:], 0, atol=1e-12)
    assert class_spectra(states[:1], [0]).tolist() == [[0.0] * 6]


@pytest.mark.parametrize(
    ("squares", "share", "wanted"),
    [([19, 1], 0.95, 1), ([18.9, 1.1], 0.95, 2), ([1, 1, 1, 1], 0.75, 3), ([1, 1, 1, 1], 0.76, 4), ([0, 0], 0.95, 0)],
)
def test_directions_by_hand(squares: list[float], share: float, wanted: int) -> None:
    assert int(num_directions(np.sqrt(squares), share)) == wanted


def test_participation_by_hand() -> None:
    assert participation_ratio(np.sqrt([2.0, 1.0, 1.0])) == pytest.approx(16 / 6, rel=1e-14)
    assert participation_ratio([0.0, 0.0]) == 0
    assert participation_ratio([1e-200, 1e-200]) == pytest.approx(0)  # squares underflow: no variance left


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.01, 100), st.integers(1, 6))
def test_a_rotation_a_shift_and_a_scale_change_nothing(seed: int, scale: float, d: int) -> None:
    rng = np.random.default_rng(seed)
    states, labels = cloud(rng, d=d)
    moved = scale * states @ rotation(rng, d) + rng.standard_normal(d)
    one, two = class_spectra(states, labels), class_spectra(moved, labels)
    np.testing.assert_allclose(two, scale * one, rtol=1e-7, atol=1e-9 * scale)
    np.testing.assert_allclose(participation_ratio(two), participation_ratio(one), rtol=1e-7)
    assert np.all(participation_ratio(one) >= 1 - 1e-12)
    assert np.all(participation_ratio(one) <= d + 1e-12)
    assert num_directions(two).tolist() == num_directions(one).tolist()
    before, after = class_separation(states, labels), class_separation(moved, labels)
    assert after.trace_ratio == pytest.approx(before.trace_ratio, rel=1e-7)
    assert after.fisher == pytest.approx(before.fisher, rel=1e-7)


def test_separation_against_scatter_matrices_and_any_linear_map() -> None:
    rng = np.random.default_rng(3)
    states, labels = cloud(rng, n=61)
    within = sum((labels == c).mean() * np.cov(states[labels == c].T, bias=True) for c in range(3))
    between = np.cov(states.T, bias=True) - within
    got = class_separation(states, labels)
    assert got.trace_ratio == pytest.approx(np.trace(between) / np.trace(within), rel=1e-10)
    assert got.fisher == pytest.approx(np.trace(np.linalg.solve(within, between)), rel=1e-10)
    mapped = class_separation(states @ rng.standard_normal((5, 5)), labels)
    assert mapped.fisher == pytest.approx(got.fisher, rel=1e-6)
    assert mapped.trace_ratio != pytest.approx(got.trace_ratio, rel=1e-3)


def test_fisher_is_what_linear_discriminants_explain() -> None:
    """scikit-learn solves the same eigenproblem; dead units of a ReLU layer must not matter."""
    states, labels = cloud(np.random.default_rng(4))
    found = LinearDiscriminantAnalysis(solver="eigen").fit(states, labels)
    directions = found.scalings_[:, :2]
    within, means = states.copy(), np.zeros_like(states)
    for c in range(3):
        means[labels == c] = states[labels == c].mean(axis=0)
    within -= means
    wanted = sum(np.var(means @ v) / np.var(within @ v) for v in directions.T)
    dead = np.concatenate([states, np.zeros((60, 3))], axis=1)
    assert class_separation(dead, labels).fisher == pytest.approx(wanted, rel=1e-8)


def test_summary_averages_over_classes() -> None:
    """One class on a line, one on a square, one point: 1, 2 and 0 directions; variances 1, 2 and 0."""
    line, square = [[-1.0, 0], [1, 0]], [[9.0, 9], [9, 11], [11, 9], [11, 11]]
    got = class_summary([*line, *square, [5.0, -5.0]], [0, 0, 1, 1, 1, 1, 2])
    assert (got["directions"], got["participation"], got["within_variance"]) == pytest.approx((1, 1, 1))
    np.testing.assert_allclose(got["spectrum"], [0.75, 0.25])
    apart = class_separation([*line, *square, [5.0, -5.0]], [0, 0, 1, 1, 1, 1, 2])
    assert (got["trace_ratio"], got["fisher"]) == (apart.trace_ratio, apart.fisher)


def test_readout_variance_of_the_construction() -> None:
    """Theory F.11's own states: nothing seen within a class, dim H - K + 1 free directions."""
    made, rng = manifold_construction(4, 9, np.random.default_rng(5)), np.random.default_rng(6)
    labels = np.arange(80) % 4
    states = made.sample(rng, labels)
    got = readout_variance(made.weight, states, labels)
    assert got.free_dimension == made.free_dimension == 6
    assert got.seen_within < 1e-25
    assert got.seen_share < 1e-25
    assert got.seen_between > 0.01
    moved = readout_variance(made.weight, states + 0.1 * rng.standard_normal(states.shape), labels)
    assert moved.seen_within > 1e-3


def test_readout_variance_splits_all_of_it_and_ignores_a_common_shift() -> None:
    rng = np.random.default_rng(7)
    states, labels = cloud(rng)
    weight = rng.standard_normal((3, 5))
    got = readout_variance(weight, states, labels)
    total = got.seen_within + got.seen_between + got.free_within + got.free_between
    assert total == pytest.approx(states.var(axis=0).sum(), rel=1e-12)
    shifted = readout_variance(weight + 10 * rng.standard_normal(5), states, labels)  # all logits alike
    assert shifted.seen_within == pytest.approx(got.seen_within, rel=1e-8)
    assert got.free_dimension == 3
    basis = np.linalg.qr((weight - weight.mean(axis=0))[:2].T)[0]
    within = states - np.stack([states[labels == c].mean(axis=0) for c in range(3)])[labels]
    assert got.seen_within == pytest.approx((within @ basis).var(axis=0).sum(), rel=1e-10)


def test_vectors() -> None:
    maps = torch.arange(24.0).reshape(2, 3, 2, 2)
    np.testing.assert_allclose(as_vectors(maps), maps.numpy().mean(axis=(2, 3)))
    assert as_vectors(torch.ones(2, 3)).dtype == np.float64


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: class_spectra(np.ones((2, 2)), [0]), "`labels` must be 2 whole numbers"),
        (lambda: class_spectra(np.ones((2, 2)), [0.5, 1]), "`labels` must be"),
        (lambda: class_spectra(np.full((2, 2), np.nan), [0, 1]), "`states` must"),
        (lambda: num_directions([1.0], 1.0), "`share` must"),
        (lambda: num_directions([1.0, 2.0]), "`spectrum` must be"),
        (lambda: participation_ratio([1.0, -1.0]), "`spectrum` must be"),
        (lambda: class_separation(np.eye(2), [0, 0]), "at least two classes"),
        (lambda: class_separation(np.eye(2), [0, 1]), "must vary within a class"),
        (lambda: readout_variance(np.ones((2, 3)), np.eye(2), [0, 1]), "`weight` must have 2 columns"),
        (lambda: as_vectors(torch.ones(2)), "`states` must be of shape"),
    ],
)
def test_bad_input(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
