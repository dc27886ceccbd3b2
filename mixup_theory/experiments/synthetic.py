"""Synthetic data whose mixup optimum is known: large fixed pools, from which each run draws its own points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["POOL_SIZE", "TEST_SIZE", "circle_points", "mixture_points", "synthetic_points"]

POOL_SIZE, TEST_SIZE = 60_000, 20_000

Points = tuple[NDArray[np.float64], NDArray[np.int64]]


def circle_points(
    rng: np.random.Generator, n: int, *, inner_radius: float, noise: float, law: str = "normal"
) -> Points:
    """Draw points near two circles around the origin: label 0 on the inner one, 1 on the outer, of radius 1.

    Labels alternate, so that every even number of points is balanced; angles are uniform.

    Args:
        rng: Source of randomness.
        n: Number of points.
        inner_radius: Radius of class 0, in (0, 1).
        noise: Added to each coordinate: standard deviation for `normal`, scale for `laplace`.
        law: `normal` (theory F.9, scikit-learn's make_circles) or `laplace` (GenLabel's script).

    Returns:
        Points [n, 2] and labels [n].

    Example:
        >>> x, y = circle_points(np.random.default_rng(0), 4, inner_radius=0.5, noise=0.0)
        >>> np.linalg.norm(x, axis=1).round(12).tolist(), y.tolist()
        ([0.5, 1.0, 0.5, 1.0], [0, 1, 0, 1])
    """
    y = np.arange(n) % 2
    angle = rng.uniform(0, 2 * np.pi, n)
    x = np.where(y, 1.0, inner_radius)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    draw = rng.normal if law == "normal" else rng.laplace
    return x + draw(0, noise, (n, 2)) if noise else x, y


def mixture_points(rng: np.random.Generator, n: int, *, distance: float, num_features: int) -> Points:
    """Draw from two unit Gaussians whose means are `distance` / 2 from the origin, opposite along the first axis.

    Args:
        rng: Source of randomness.
        n: Number of points; labels alternate.
        distance: Between the means, twice the D of theory F.4.
        num_features: Dimension.

    Returns:
        Points [n, num_features] and labels [n].

    Example:
        >>> x, y = mixture_points(np.random.default_rng(0), 1000, distance=4.0, num_features=3)
        >>> x.shape, bool(x[y == 1, 0].mean() > 1.8)
        ((1000, 3), True)
    """
    y = np.arange(n) % 2
    x = rng.normal(size=(n, num_features))
    x[:, 0] += (2 * y - 1) * distance / 2
    return x, y


_LAWS = {
    "circles": lambda rng, n: circle_points(rng, n, inner_radius=0.5, noise=0.1),
    "circles-laplace": lambda rng, n: circle_points(rng, n, inner_radius=0.8, noise=0.02, law="laplace"),
    "gaussian-mixture": lambda rng, n: mixture_points(rng, n, distance=4.0, num_features=2),
    "gaussian-line": lambda rng, n: mixture_points(rng, n, distance=4.0, num_features=1),
}


def synthetic_points(name: str) -> tuple[Points, Points]:
    """Draw the fixed pool and the fixed test set of one synthetic data set.

    A run takes its own random points from the pool; among 60,000, two runs share few.

    Args:
        name: `circles` (radii 1/2 and 1, Gaussian noise 0.1), `circles-laplace` (radii 0.8 and 1, Laplace noise
            0.02: GenLabel's script), `gaussian-mixture` (D = 2 in two dimensions), `gaussian-line` (D = 2 in one).

    Returns:
        Training points with labels, and test points with labels.

    Example:
        >>> (x, y), (x_test, y_test) = synthetic_points("circles")
        >>> x.shape, x_test.shape
        ((60000, 2), (20000, 2))
    """
    train, test = np.random.SeedSequence(9000 + list(_LAWS).index(name)).spawn(2)
    law = _LAWS[name]
    return law(np.random.default_rng(train), POOL_SIZE), law(np.random.default_rng(test), TEST_SIZE)
