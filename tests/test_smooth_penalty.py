"""Gauss quadrature for smooth networks: the error bound of D.5, polynomials, agreement with the exact form."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from mixup_theory import smooth_penalty as module
from mixup_theory.cross_entropy import cross_entropy_penalty
from mixup_theory.moments import mean_p_squared
from mixup_theory.penalty import squared_penalty
from mixup_theory.quadrature import expect, expect_pieces
from mixup_theory.smooth_penalty import gauss_error_bound, smooth_penalty


@pytest.mark.parametrize("alpha", [0.3, 1.0, 5.0])
def test_the_bound_holds_on_runge(alpha: float) -> None:
    """G(u) = 1/(1 + 25 u^2) has its poles at u = i/5; on the ellipse of parameter rho |G| is largest at the top."""

    def g(t: np.ndarray) -> np.ndarray:
        return 1 / (1 + 25 * (2 * t - 1) ** 2)

    exact = expect_pieces(g, alpha, [0, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 1], 64)
    for n in (5, 10, 20, 40):
        error = abs(expect(g, alpha, n, peel=False) - exact)
        bounds = []
        for rho in np.linspace(1.01, 1.21, 41):  # the pole is at rho = 1/5 + sqrt(1 + 1/25) = 1.2198
            top = (rho - 1 / rho) / 2
            bounds.append(gauss_error_bound(1 / (1 - 25 * top**2), rho, n))
        assert error < min(bounds)
    assert min(bounds) < 1e-3


def test_the_error_falls_at_the_rate_of_the_bound() -> None:
    def g(t: np.ndarray) -> np.ndarray:
        return 1 / (1 + 25 * (2 * t - 1) ** 2)

    exact = expect_pieces(g, 1.0, [0, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 1], 64)
    sizes = np.arange(10, 70, 4)
    errors = np.array([abs(expect(g, 1.0, int(n)) - exact) for n in sizes])
    rate = np.polyfit(2 * sizes, np.log(errors), 1)[0]
    assert rate == pytest.approx(-np.log(0.2 + np.sqrt(1.04)), abs=0.01)


def test_bound_by_hand() -> None:
    assert gauss_error_bound(1.0, 2.0, 10) == 4 * 2.0**-19
    np.testing.assert_allclose(gauss_error_bound([1.0, 2.0], 3.0, 2), [2 / 27, 4 / 27])


@pytest.mark.parametrize("alpha", [0.0, 1e-8, 0.3, 1.0, 20.0, np.inf])
def test_a_quadratic_by_its_closed_form(alpha: float) -> None:
    """x^2 between 1 and -1 with labels 1: the residual is -4 p."""
    got = smooth_penalty(lambda x: x**2, [[1.0]], [[-1.0]], 1, 1, alpha)
    np.testing.assert_allclose(got, 16 * mean_p_squared(alpha), rtol=1e-12)


@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
@pytest.mark.parametrize("alpha", [0.2, 1.0, 7.0])
def test_a_torch_network_against_split_quadrature(alpha: float, loss: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 3)).double()
    x = torch.randn(2, 4, 2, 3, dtype=torch.float64)
    rng = np.random.default_rng(0)
    yi, yj = rng.dirichlet(np.ones(3), size=(2, 4))
    got = smooth_penalty(network, x[0], x[1], yi, yj, alpha, loss=loss)
    for s in range(4):

        def value(t: np.ndarray, s: int = s) -> np.ndarray:
            lam = torch.from_numpy(t)[:, None, None]
            z = network(lam * x[0, s] + (1 - lam) * x[1, s]).detach()
            label = torch.from_numpy(t[:, None] * yi[s] + (1 - t[:, None]) * yj[s])
            if loss == "squared":
                return ((z - label) ** 2).sum(dim=1).numpy()
            return nn.functional.cross_entropy(z, label, reduction="none").numpy()

        assert got[s] == pytest.approx(expect_pieces(value, alpha, np.linspace(0, 1, 9)), rel=1e-10)


def test_relu_networks_converge_to_the_exact_form() -> None:
    """At a kink Gauss rules converge as n^-2 only, but to the same number."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2)).double()
    xi, xj = np.random.default_rng(1).normal(size=(2, 5, 3))
    yi, yj = np.tile([1.0, 0.0], (5, 1)), np.tile([0.0, 1.0], (5, 1))
    exact = squared_penalty(network, xi, xj, yi, yj, 0.5)
    np.testing.assert_allclose(smooth_penalty(network, xi, xj, yi, yj, 0.5, num_nodes=400), exact, rtol=1e-4)
    exact = cross_entropy_penalty(network, xi, xj, yi, yj, 0.5)
    rough = smooth_penalty(network, xi, xj, yi, yj, 0.5, loss="cross_entropy", num_nodes=400)
    np.testing.assert_allclose(rough, exact, rtol=1e-4)


def test_groups_and_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(2)
    network = nn.Sequential(nn.Linear(2, 5), nn.GELU(), nn.Dropout(0.5), nn.Linear(5, 1)).eval()
    xi, xj = np.random.default_rng(2).normal(size=(2, 9, 2))
    labels = np.random.default_rng(3).normal(size=(2, 9))
    single = smooth_penalty(network, xi, xj, *labels, 0.5)
    monkeypatch.setattr(module, "CHUNK_ENTRIES", 300)
    grouped = smooth_penalty(network, xi, xj, *labels, 0.5)
    np.testing.assert_allclose(grouped, single, rtol=1e-5)
    np.testing.assert_allclose(single, smooth_penalty(network.double(), xi, xj, *labels, 0.5), rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: smooth_penalty(lambda x: x, [1.0], [0.0], 1, 0, 1.0), "segments, features"),
        (lambda: smooth_penalty(lambda x: x, [[1.0]], [[0.0], [1.0]], 1, 0, 1.0), "must have one shape"),
        (lambda: smooth_penalty(lambda x: x, [[np.nan]], [[0.0]], 1, 0, 1.0), "must be finite"),
        (lambda: smooth_penalty(lambda x: x[:, 0], [[1.0]], [[0.0]], 1, 0, 1.0), "`network` must return shape"),
        (lambda: smooth_penalty(lambda x: x, [[1.0]], [[0.0]], 1, 0, -1.0), "`alpha` must be"),
        (lambda: smooth_penalty(lambda x: x, [[1.0]], [[0.0]], 1, 0, 1.0, loss="mse"), "`loss` must be one of"),
        (lambda: smooth_penalty(lambda x: x, [[1.0]], [[0.0]], [1, 2], 0, 1.0), "`yi` must have shape"),
        (lambda: smooth_penalty([(1, 2)], [[1.0]], [[0.0]], 1, 0, 1.0), "use squared_penalty"),
        (
            lambda: smooth_penalty(nn.Sequential(nn.Linear(1, 1), nn.Dropout()), [[1.0]], [[0.0]], 1, 0, 1.0),
            r"Call network.eval\(\)",
        ),
        (lambda: gauss_error_bound(1.0, 1.0, 3), "`rho` must be > 1, got 1"),
        (lambda: gauss_error_bound(-1.0, 2.0, 3), "`maximum` must be"),
        (lambda: gauss_error_bound(1.0, 2.0, 0), "`num_nodes` must be"),
    ],
)
def test_bad_input(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
