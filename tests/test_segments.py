"""Knots and values of ReLU networks along segments, against dense forward evaluation and hand cases."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from mixup_theory import segments
from mixup_theory.segments import SegmentPaths, iter_segment_paths, kinks, segment_labels, segment_paths


def random_weights(seed: int, sizes: tuple[int, ...]) -> list:
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=(b, a)) * np.sqrt(2 / a), 0.3 * rng.normal(size=b)) for a, b in pairwise(sizes)]


def forward(network: list, x: np.ndarray, slope: float) -> np.ndarray:
    for weight, bias in network[:-1]:
        x = x @ weight.T + bias
        x = np.where(x > 0, x, slope * x)
    return x @ network[-1][0].T + network[-1][1]


@pytest.mark.parametrize("slope", [0.0, 0.2, -0.5])
@pytest.mark.parametrize("sizes", [(1, 3, 1), (4, 8, 8, 8, 1), (5, 16, 9, 4)])
def test_the_path_is_the_network_at_every_point(sizes: tuple[int, ...], slope: float) -> None:
    network = random_weights(len(sizes), sizes)
    xi, xj = np.random.default_rng(1).normal(size=(2, 7, sizes[0]))
    paths = segment_paths(network, xi, xj, slope=slope)
    t = np.linspace(0, 1, 401)
    dense = np.stack([forward(network, s * xi + (1 - s) * xj, slope) for s in t], axis=1)
    np.testing.assert_allclose(paths.at(t), dense, rtol=0, atol=2e-14)
    assert np.all(np.diff(paths.knots)[np.diff(paths.owner) == 0] > 0)
    np.testing.assert_array_equal(paths.knots[paths.offsets[:-1]], 0)
    np.testing.assert_array_equal(paths.knots[paths.offsets[1:] - 1], 1)


def test_the_kinks_are_where_dense_second_differences_are() -> None:
    """Every grid cell with a bend in the exact slopes holds a kink, and no other does."""
    network = random_weights(3, (4, 8, 8, 1))
    xi, xj = np.random.default_rng(2).normal(size=(2, 5, 4))
    paths = segment_paths(network, xi, xj)
    t = np.linspace(0, 1, 20001)
    for index, found in enumerate(kinks(paths)):
        values = forward(network, t[:, None] * xi[index] + (1 - t[:, None]) * xj[index], 0.0)[:, 0]
        bends = np.abs(np.diff(values, 2)) > 1e-11
        cells = np.unique(np.clip(np.flatnonzero(bends)[:, None] + [0, 1], 0, len(t) - 2))
        assert len(found) >= 3
        assert np.all(np.isin(np.floor(found * 20000).astype(int), cells))
        for cell in np.flatnonzero(bends):
            assert np.any((found >= t[cell] - 1e-12) & (found <= t[cell + 2] + 1e-12))


def test_knots_by_hand() -> None:
    """Worked example 2: f = 1.5 relu(2x - 0.6) - 0.2 from 0.9 to -0.4 has its kink at t = 7/13."""
    network = [([[2.0]], [-0.6]), ([[1.5]], [-0.2])]
    t, values = segment_paths(network, [[0.9]], [[-0.4]]).segment(0)
    np.testing.assert_allclose(t, [0, float(Fraction(7, 13)), 1], rtol=1e-15)
    np.testing.assert_allclose(values[:, 0], [-0.2, -0.2, 1.6], rtol=1e-15)


def test_units_that_touch_zero_or_share_a_zero() -> None:
    relu = [(np.eye(3), [0, 0, 0]), (np.ones((1, 3)), [0])]
    touching = segment_paths(relu, [[1.0, 1.0, 0.0]], [[0.0, -1.0, 0.0]])  # 0 at an end, crossing, identically 0
    assert touching.knots.tolist() == [0, 0.5, 1]
    shared = segment_paths(relu, [[1.0, 2.0, 3.0]], [[-1.0, -2.0, -3.0]])
    assert shared.knots.tolist() == [0, 0.5, 1]
    assert shared.values[:, 0].tolist() == [0, 0, 6]
    still = segment_paths(relu, [[1.0, -2.0, 3.0]], [[1.0, -2.0, 3.0]])  # the same point twice
    assert still.knots.tolist() == [0, 1]


def test_dead_units_leave_knots_but_no_kinks() -> None:
    dead = [([[1.0], [1.0]], [0.0, -0.5]), ([[1.0, 0.0]], [0.0])]
    paths = segment_paths(dead, [[1.0]], [[-1.0]])
    assert paths.knots.tolist() == [0, 0.5, 0.75, 1]
    assert [found.tolist() for found in kinks(paths)] == [[0.5]]


def test_torch_and_numpy_inputs_agree_in_any_shape() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    x = torch.randn(2, 4, 1, 2, 3, requires_grad=True)
    paths = segment_paths(network, x[0], x[1])
    same = segment_paths(network, *x.detach().numpy().reshape(2, 4, 6))
    np.testing.assert_array_equal(paths.values, same.values)
    one, zero = paths.ends
    np.testing.assert_allclose(one, network(x[0]).detach(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(zero, network(x[1]).detach(), rtol=1e-5, atol=1e-6)


def test_groups_do_not_change_the_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    network = random_weights(0, (3, 12, 10, 2))
    xi, xj = np.random.default_rng(4).normal(size=(2, 23, 3))
    whole = segment_paths(network, xi, xj)
    for entries in (1, 300, 2000):
        monkeypatch.setattr(segments, "CHUNK_ENTRIES", entries)
        groups = list(iter_segment_paths(network, xi, xj))
        assert len(groups) > 1
        assert sum(map(len, groups)) == 23
        cut = segment_paths(network, xi, xj)
        np.testing.assert_array_equal(cut.offsets, whole.offsets)
        np.testing.assert_allclose(cut.knots, whole.knots, rtol=1e-13)
        np.testing.assert_allclose(cut.values, whole.values, rtol=0, atol=1e-14)


def test_a_sawtooth_has_its_exponential_number_of_kinks() -> None:
    """Tent maps composed: depth k folds the unit interval into 2^k pieces."""
    first, tent = ([[1.0], [1.0]], [0.0, -0.5]), (np.array([[2.0, -4.0], [2.0, -4.0]]), [0.0, -0.5])
    network = [first, *[tent] * 5, ([[2.0, -4.0]], [0.0])]
    paths = segment_paths(network, [[1.0]], [[0.0]])
    np.testing.assert_allclose(kinks(paths)[0], np.arange(1, 64) / 64, rtol=1e-15)
    np.testing.assert_array_equal(paths.at(np.arange(65) / 64)[0, :, 0], np.arange(65) % 2)


def test_at_takes_one_point_and_refuses_outside() -> None:
    line = SegmentPaths(np.array([0.0, 1.0]), np.array([[0.0], [2.0]]), np.array([0, 2]))
    assert line.at(0.25).tolist() == [[[0.5]]]
    assert line.at([0.0, 1.0]).ravel().tolist() == [0, 2]
    with pytest.raises(ValueError, match="`t` must be in"):
        line.at(1.5)


@pytest.mark.parametrize(
    ("xi", "xj", "message"),
    [
        ([1.0], [0.0], r"`xi` must have shape \[segments, features\]"),
        ([[1.0, 2.0]], [[1.0, 2.0]], "`xi` must have 1 features"),
        ([[1.0]], [[1.0], [2.0]], "`xj` must have the shape of xi"),
        ([[np.nan]], [[1.0]], "`xi` must be a finite array"),
        (np.empty((0, 1)), np.empty((0, 1)), "`xi` must not be empty"),
    ],
)
def test_bad_inputs_are_refused(xi: list, xj: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        segment_paths([([[1.0]], [0.0])], xi, xj)


def test_labels_broadcast_or_are_refused() -> None:
    assert segment_labels("yi", 1, 2, 3).tolist() == [[1] * 3] * 2
    assert segment_labels("yi", torch.tensor([1.0, 2.0]), 2, 1).tolist() == [[1], [2]]
    for label in ([1, 2], [[1.0, 2.0]], np.ones((3, 2))):
        with pytest.raises(ValueError, match=r"`yj` must have shape \[2, 3\].*one_hot"):
            segment_labels("yj", label, 2, 3)
