"""Time the exact interpolation penalty against adaptive quadrature, and at the size of an image network."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "2")  # before numpy is imported: the claims are for two cores

import resource
import time
import warnings
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import IntegrationWarning, quad

from mixup_theory.penalty import squared_penalty
from mixup_theory.segments import segment_paths

Weights = list[tuple[NDArray[np.float64], NDArray[np.float64]]]

ALPHA = 1.0  # the uniform law: no singular weight to handicap quad
NUM_SEGMENTS = 1000
NUM_QUAD = 12  # segments given to quad; its time is scaled to NUM_SEGMENTS
TOLERANCE = 1e-8


def _network(rng: np.random.Generator, sizes: tuple[int, ...]) -> Weights:
    """He initialisation, small biases."""
    return [
        (rng.normal(size=(n_out, n_in)) * np.sqrt(2 / n_in), 0.1 * rng.normal(size=n_out))
        for n_in, n_out in pairwise(sizes)
    ]


def _problem(sizes: tuple[int, ...]) -> tuple[Weights, tuple[NDArray[np.float64], ...]]:
    """A network and segments between Gaussian inputs of different classes."""
    rng = np.random.default_rng(0)
    network = _network(rng, sizes)
    xi, xj = rng.normal(size=(2, NUM_SEGMENTS, sizes[0]))
    labels = np.eye(sizes[-1])
    first = rng.integers(0, sizes[-1], NUM_SEGMENTS)
    second = (first + rng.integers(1, sizes[-1], NUM_SEGMENTS)) % sizes[-1]
    return network, (xi, xj, labels[first], labels[second])


def _square(network: Weights, xi: NDArray, xj: NDArray, yi: NDArray, yj: NDArray) -> Callable[[float], float]:
    """Squared residual at one point of one segment."""

    def square(t: float) -> float:
        h = t * xi + (1 - t) * xj
        for weight, bias in network[:-1]:
            h = np.maximum(weight @ h + bias, 0.0)
        weight, bias = network[-1]
        residual = weight @ h + bias - t * yi - (1 - t) * yj
        return float(residual @ residual)

    return square


def _by_quad(square: Callable[[float], float], parts: int, tolerance: float = TOLERANCE) -> float:
    """Scipy's adaptive rule on equal parts of the segment."""
    cuts = np.linspace(0, 1, parts + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IntegrationWarning)  # at some kinks it gives up early; the error is printed
        return sum(quad(square, a, b, epsabs=0, epsrel=tolerance, limit=5000)[0] for a, b in pairwise(cuts))


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _line(name: str, value: str, target: str, passed: bool) -> None:
    print(f"{name}: {value} | target {target} | {'pass' if passed else 'MISS'}", flush=True)


def compare_with_quad() -> None:
    """64-64-64-10 at equal accuracy."""
    network, segments = _problem((64, 64, 64, 10))
    squared_penalty(network, *(part[:8] for part in segments), ALPHA)  # first calls load libraries
    times = []
    for _ in range(3):
        start = time.perf_counter()
        exact = squared_penalty(network, *segments, ALPHA)
        times.append(time.perf_counter() - start)
    fast = float(np.median(times))
    squares = [_square(network, *(part[k] for part in segments)) for k in range(NUM_QUAD)]
    knots = [segment_paths(network, *(part[[k]] for part in segments[:2])).knots for k in range(NUM_QUAD)]
    reference = np.array(
        [
            quad(square, 0, 1, epsabs=0, epsrel=1e-13, limit=5000, points=cuts[1:-1])[0]
            for square, cuts in zip(squares, knots, strict=True)
        ]
    )
    error = float(np.max(np.abs(exact[:NUM_QUAD] / reference - 1)))
    _line("64-64-64-10, relative error of the exact form", f"{error:.1e}", "<= 1e-08", error <= TOLERANCE)
    for how, parts, tolerance in (
        ("plain quad asked for 1e-8", 1, TOLERANCE),
        ("quad on 8 parts asked for 2e-9", 8, 2e-9),
    ):
        start = time.perf_counter()
        adaptive = np.array([_by_quad(square, parts, tolerance) for square in squares])
        slow = (time.perf_counter() - start) / NUM_QUAD * NUM_SEGMENTS
        errors = np.abs(adaptive / reference - 1)
        _line(
            f"64-64-64-10, {NUM_SEGMENTS} segments, exact against {how} "
            f"(its error: median {np.median(errors):.0e}, worst {errors.max():.0e})",
            f"{slow / fast:.0f} times faster ({fast:.2f} s, {slow:.0f} s scaled from {NUM_QUAD} segments)",
            ">= 100 times",
            slow / fast >= 100,
        )


def image_size() -> None:
    """784-256-256-10."""
    network, segments = _problem((784, 256, 256, 10))
    before = _megabytes()
    start = time.perf_counter()
    squared_penalty(network, *segments, ALPHA)
    seconds, growth = time.perf_counter() - start, _megabytes() - before
    name = f"784-256-256-10, {NUM_SEGMENTS} segments"
    _line(f"{name}, time", f"{seconds:.1f} s ({os.cpu_count()} cores seen)", "<= 60 s", seconds <= 60)
    _line(
        f"{name}, memory", f"{growth:.0f} MiB more, peak {_megabytes():.0f} MiB", "peak < 2048 MiB", _megabytes() < 2048
    )


if __name__ == "__main__":
    compare_with_quad()
    image_size()
