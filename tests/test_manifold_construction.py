"""The zero-loss construction of manifold mixup, its free dimension, and what remains when the space is too small."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from mixup_theory.manifold_construction import least_squared_loss, manifold_construction
from mixup_theory.moments import lam_moment

SIZES = [(2, 1), (3, 2), (3, 4), (10, 9), (10, 64)]


@pytest.mark.parametrize(("num_classes", "hidden_dim"), SIZES)
@pytest.mark.parametrize("seed", [None, 5])
def test_zero_loss_and_free_dimension(num_classes: int, hidden_dim: int, seed: int | None) -> None:
    rng = None if seed is None else np.random.default_rng(seed)
    made = manifold_construction(num_classes, hidden_dim, rng)
    assert made.free_dimension == hidden_dim - num_classes + 1
    for alpha in (0.0, 1e-8, 1.0, np.inf):
        assert made.largest_deviation(np.random.default_rng(0), alpha) < 1e-12
    np.testing.assert_allclose(made.readout(made.centers), np.eye(num_classes), atol=1e-12)
    assert np.linalg.matrix_rank(made.weight) == num_classes - 1


def test_the_printed_check() -> None:
    made = manifold_construction(3, 4, np.random.default_rng(0))
    assert made.largest_deviation(np.random.default_rng(1)) < 1e-13
    assert made.free_dimension == 2


def test_every_class_fills_its_subspace_and_no_more() -> None:
    made = manifold_construction(4, 7, np.random.default_rng(2))
    assert made.directions.shape == (4, 7)
    np.testing.assert_allclose(made.directions @ made.directions.T, np.eye(4), atol=1e-13)
    np.testing.assert_allclose(made.weight @ made.directions.T, 0, atol=1e-13)  # free directions change no output
    hidden = made.sample(np.random.default_rng(3), np.full(50, 2))
    np.testing.assert_allclose(made.readout(hidden), np.tile(np.eye(4)[2], (50, 1)), atol=1e-12)
    spread = np.linalg.svd(hidden - hidden.mean(axis=0), compute_uv=False)
    assert np.all(spread[:4] > 1)
    assert spread[4] < 1e-12
    off = hidden + 0.1 * (made.centers[0] - made.centers[2])
    assert np.abs(made.readout(off) - np.eye(4)[2]).max() > 0.05  # leaving the subspace costs


@pytest.mark.parametrize(("num_classes", "hidden_dim"), [(3, 1), (5, 2), (6, 4), (4, 3)])
@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_least_loss_is_the_rest_of_the_label_spectrum(num_classes: int, hidden_dim: int, alpha: float) -> None:
    """Enumerate the second moments of the mixed label; the best affine readout drops its smallest directions."""
    d = num_classes
    second, cross = lam_moment(2, 0, alpha), lam_moment(1, 1, alpha)
    moment, eye = np.zeros((d, d)), np.eye(d)
    for a, b in product(range(d), repeat=2):
        moment += second * (np.outer(eye[a], eye[a]) + np.outer(eye[b], eye[b]))
        moment += cross * (np.outer(eye[a], eye[b]) + np.outer(eye[b], eye[a]))
    covariance = moment / d**2 - np.full((d, d), 1 / d**2)
    eigenvalues = np.linalg.eigvalsh(covariance)
    wanted = eigenvalues[: d - hidden_dim].sum()
    assert least_squared_loss(alpha, d, hidden_dim) == pytest.approx(wanted, rel=1e-12, abs=1e-15)


def test_least_loss_shapes_and_limits() -> None:
    assert least_squared_loss([0.0, np.inf], 4, 1).tolist() == [0.5, 0.25]
    assert least_squared_loss(1.0, 10, 9) == 0.0
    assert least_squared_loss(1.0, 10, 8) > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: manifold_construction(5, 3), "`hidden_dim` must be >= num_classes - 1 = 4, got 3"),
        (lambda: manifold_construction(1, 3), "`num_classes` must be"),
        (lambda: manifold_construction(3, 2.5), "`hidden_dim` must be"),
        (lambda: manifold_construction(3, 4).sample(np.random.default_rng(0), [3]), "`classes` must be"),
        (lambda: manifold_construction(3, 4).sample(np.random.default_rng(0), [0.5]), "`classes` must be"),
        (lambda: manifold_construction(3, 4).readout(np.zeros((2, 3))), "`hidden` must have 4 columns"),
        (lambda: manifold_construction(3, 4).largest_deviation(np.random.default_rng(0), -1.0), "`alpha` must be"),
        (
            lambda: manifold_construction(3, 4).largest_deviation(np.random.default_rng(0), 1.0, 0),
            "`num_pairs` must be",
        ),
        (lambda: least_squared_loss(1.0, 1, 1), "`num_classes` must be"),
    ],
)
def test_bad_input(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
