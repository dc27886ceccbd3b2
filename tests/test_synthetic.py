"""Synthetic pools follow their laws, and runs draw their own points from them."""

from __future__ import annotations

import numpy as np
import pytest

from mixup_theory.circles import circle_boundary
from mixup_theory.experiments import RunConfig, load_dataset, run_dataset
from mixup_theory.experiments.synthetic import circle_points, mixture_points, synthetic_points


def test_circles_have_the_radii_and_noise_of_the_theory() -> None:
    data = load_dataset("circles")
    radius = np.linalg.norm(data.x_train, axis=1)
    for label, expected in ((0, 0.5), (1, 1.0)):
        second = (radius[data.y_train == label] ** 2).mean()  # A^2 + 2 sigma^2
        spread = (radius[data.y_train == label] ** 2).std() / np.sqrt(30_000)
        assert abs(second - (expected**2 + 2 * 0.1**2)) < 6 * spread
    boundary = circle_boundary(0.5, 1.0, 0.1, 0.0)
    wrong = (np.linalg.norm(data.x_test, axis=1) > boundary.radius) != (data.y_test == 1)
    assert abs(wrong.mean() - boundary.bayes_error) < 6 * np.sqrt(boundary.bayes_error / 20_000)


def test_laplace_noise_has_its_scale() -> None:
    rng = np.random.default_rng(0)
    x, _ = circle_points(rng, 200_000, inner_radius=0.8, noise=0.02, law="laplace")
    radius = np.linalg.norm(x, axis=1)
    outer = radius[1::2] ** 2
    assert abs(outer.mean() - (1 + 2 * 2 * 0.02**2)) < 6 * outer.std() / np.sqrt(100_000)


def test_mixture_distance() -> None:
    x, y = mixture_points(np.random.default_rng(1), 100_000, distance=4.0, num_features=2)
    gap = x[y == 1].mean(axis=0) - x[y == 0].mean(axis=0)
    np.testing.assert_allclose(gap, [4, 0], atol=6 * np.sqrt(4 / 100_000))
    assert abs(x[y == 0, 0].std() - 1) < 0.02


@pytest.mark.parametrize("name", ["circles", "circles-laplace", "gaussian-mixture", "gaussian-line"])
def test_pools_are_fixed_balanced_and_apart(name: str) -> None:
    (x, y), (x_test, y_test) = synthetic_points(name)
    again = synthetic_points(name)
    np.testing.assert_array_equal(x, again[0][0])
    assert y.mean() == 0.5
    assert y_test.mean() == 0.5
    assert not np.isin(x_test[:, 0], x[:, 0]).any()


def test_runs_draw_their_own_points() -> None:
    first, second = (run_dataset(RunConfig(dataset="circles", num_train=500, seed=s)) for s in (0, 1))
    assert first.x_train.shape == (500, 2)
    assert np.isin(first.x_train[:, 0], second.x_train[:, 0]).mean() < 0.05
