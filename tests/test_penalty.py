"""The interpolation penalty: worked examples, enumeration over smooth laws, decomposition, bad input."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import sympy as sp
import torch
from scipy.integrate import quad
from scipy.special import beta
from torch import nn

from mixup_theory import segments
from mixup_theory.penalty import (
    decompose,
    derive_relu_example,
    deviation_path,
    residual_path,
    squared_penalty,
)
from mixup_theory.segments import segment_paths

RELU = [([[1.0]], [0.0]), ([[1.0]], [0.0])]
SKEW = [([[2.0]], [-0.6]), ([[1.5]], [-0.2])]
ALPHAS = [0.2, 0.5, 1.0, 2.0, 8.0]


def random_network(seed: int, sizes: tuple[int, ...]) -> list:
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=(b, a)) * np.sqrt(2 / a), 0.3 * rng.normal(size=b)) for a, b in pairwise(sizes)]


def forward(network: list, x: np.ndarray) -> np.ndarray:
    for weight, bias in network[:-1]:
        x = np.maximum(weight @ x + bias, 0)
    return network[-1][0] @ x + network[-1][1]


def test_worked_example_1() -> None:
    """The numbers of theory D.3."""
    got = squared_penalty(RELU, [[1.0]], [[-1.0]], 1, 0, ALPHAS)[:, 0]
    np.testing.assert_allclose(
        got, [0.029761676219, 0.056690113816, 1 / 12, 0.1125, 0.166515574736], rtol=0, atol=5e-13
    )


def test_worked_example_2() -> None:
    got = squared_penalty(SKEW, [[0.9]], [[-0.4]], 1, 0, ALPHAS)[:, 0]
    wanted = [0.182790515786, 0.184121151910, 0.202682445759, 0.241467595672, 0.350934446897]
    np.testing.assert_allclose(got, wanted, rtol=0, atol=6e-13)


def test_decomposition_of_the_worked_example() -> None:
    parts = decompose(segment_paths(SKEW, [[0.9]], [[-0.4]]), 1, 0, 0.7)
    got = [parts.endpoint_fit[0], parts.cross[0], parts.chord_deviation[0]]
    np.testing.assert_allclose(got, [0.106666666667, -0.175896244551, 0.259875929817], rtol=0, atol=6e-13)


@pytest.mark.parametrize("alpha", [0.0, 1e-6, 0.4, 1.0, 6.0, 400.0, np.inf])
def test_the_parts_sum_to_the_penalty(alpha: float) -> None:
    network = random_network(0, (4, 9, 8, 3))
    rng = np.random.default_rng(1)
    (xi, xj), (yi, yj) = rng.normal(size=(2, 6, 4)), rng.normal(size=(2, 6, 3))
    paths = segment_paths(network, xi, xj)
    parts = decompose(paths, yi, yj, alpha)
    np.testing.assert_allclose(parts.penalty, squared_penalty(network, xi, xj, yi, yj, alpha), rtol=1e-12)
    assert np.all(parts.endpoint_fit >= 0)
    assert np.all(parts.chord_deviation >= 0)
    one, zero = paths.ends
    np.testing.assert_allclose(decompose(paths, one, zero, alpha).cross, 0, atol=1e-14)  # interpolation
    assert decompose(paths, yi, yj, [alpha, 1.0]).penalty.shape == (2, 6)


@pytest.mark.parametrize("alpha", [0.3, 1.0, 3.0])
def test_random_networks_against_adaptive_quadrature(alpha: float) -> None:
    """Scipy's quad on direct forward evaluation, in the substituted variable, split at the knots."""
    network = random_network(2, (3, 7, 6, 2))
    rng = np.random.default_rng(3)
    (xi, xj), (yi, yj) = rng.normal(size=(2, 3, 3)), rng.normal(size=(2, 3, 2))
    got = squared_penalty(network, xi, xj, yi, yj, alpha)
    for s in range(3):

        def square(t: float, s: int = s) -> float:
            residual = forward(network, t * xi[s] + (1 - t) * xj[s]) - t * yi[s] - (1 - t) * yj[s]
            return float(residual @ residual)

        knots = segment_paths(network, xi[[s]], xj[[s]]).knots
        halves = [np.append(k[k < 0.5], 0.5) for k in (knots, (1 - knots)[::-1])]
        total = 0.0
        for mirrored, cuts in enumerate(halves):
            for low, high in pairwise(cuts**alpha):

                def g(y: float, mirrored: int = mirrored, square: object = square) -> float:
                    t = y ** (1 / alpha)
                    return square(1 - t if mirrored else t) * (1 - t) ** (alpha - 1)  # type: ignore[operator]

                total += quad(g, low, high, epsabs=1e-14, epsrel=1e-12)[0]
        assert got[s] == pytest.approx(total / (alpha * beta(alpha, alpha)), rel=1e-10)


def test_monte_carlo_through_torch() -> None:
    """The penalty is the mixup loss of the module itself: 6 standard errors."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 16), nn.LeakyReLU(0.1), nn.Linear(16, 3)).double()
    xi, xj = torch.randn(2, 1, 5, dtype=torch.float64)
    yi, yj = torch.eye(3, dtype=torch.float64)[[0, 2]].unbind()
    lam = torch.from_numpy(np.random.default_rng(0).beta(0.6, 0.6, size=(100_000, 1)))
    loss = ((network(lam * xi + (1 - lam) * xj) - lam * yi - (1 - lam) * yj) ** 2).sum(dim=1).detach().numpy()
    exact = squared_penalty(network, xi, xj, yi[None], yj[None], 0.6)[0]
    assert abs(loss.mean() - exact) < 6 * loss.std() / np.sqrt(len(loss))


def test_the_penalty_is_not_monotone_in_alpha() -> None:
    """Theory D.8: bumps at a quarter and three quarters make a maximum inside."""
    bumps = [(np.ones((6, 1)), -np.array([0.1, 0.25, 0.4, 0.6, 0.75, 0.9])), ([[1, -2, 1, 1, -2, 1]], [0.0])]
    values = squared_penalty(bumps, [[1.0]], [[0.0]], 0, 0, [0.01, 2.0, 100.0])[:, 0]
    assert values[1] > 10 * values[0]
    assert values[1] > 10 * values[2]


def test_groups_carry_their_own_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    network = random_network(5, (3, 10, 2))
    rng = np.random.default_rng(6)
    (xi, xj), (yi, yj) = rng.normal(size=(2, 20, 3)), rng.normal(size=(2, 20, 2))
    whole = squared_penalty(network, xi, xj, yi, yj, [0.5, 2.0])
    monkeypatch.setattr(segments, "CHUNK_ENTRIES", 200)
    np.testing.assert_allclose(squared_penalty(network, xi, xj, yi, yj, [0.5, 2.0]), whole, rtol=1e-12)


def test_residual_and_deviation_by_hand() -> None:
    paths = segment_paths(RELU, [[1.0]], [[-1.0]])
    assert residual_path(paths, [1.0], [0.0]).values[:, 0].tolist() == [0, -0.5, 0]
    assert deviation_path(paths).values[:, 0].tolist() == [0, -0.5, 0]


def test_the_derivation_ends_in_the_shipped_number() -> None:
    end = derive_relu_example().verify().result
    (symbol,) = end.free_symbols
    for alpha in (sp.Rational(1, 100), sp.Rational(3, 10), 1, 4, 60):
        exact = float(end.subs(symbol, alpha).evalf(30))
        got = squared_penalty(RELU, [[1.0]], [[-1.0]], 1, 0, float(alpha))[0]
        assert got == pytest.approx(exact, rel=1e-13)


def test_bad_input() -> None:
    smooth = nn.Sequential(nn.Linear(1, 2), nn.Tanh(), nn.Linear(2, 1))
    with pytest.raises(ValueError, match=r"piecewise linear.*got Tanh.*smooth_penalty"):
        squared_penalty(smooth, [[1.0]], [[0.0]], 1, 0, 1.0)
    for alpha in (-1, float("nan"), "0.2"):
        with pytest.raises(ValueError, match="`alpha` must be"):
            squared_penalty(RELU, [[1.0]], [[0.0]], 1, 0, alpha)
    with pytest.raises(ValueError, match="`yj` must have shape"):
        squared_penalty(RELU, [[1.0]], [[0.0]], 1, [1, 2], 1.0)
    with pytest.raises(ValueError, match="`xj` must have the shape of xi"):
        squared_penalty(RELU, [[1.0]], [[0.0], [1.0]], 1, 0, 1.0)
