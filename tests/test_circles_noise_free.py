"""The noise-free circle predictor: printed values, Monte Carlo, the jump at the inner circle, the limit of no noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from mixup_theory.circles import noisy_circle_predictor
from mixup_theory.circles_noise_free import critical_alpha, noise_free_circle_predictor, noise_free_decision_radius


@pytest.mark.parametrize(
    ("alpha", "radius"), [(0.3, 0.58551725571121), (1, 0.57650735634751), (1.5, 0.5653904005041), (2, 0.54027898201414)]
)
def test_printed_radii(alpha: float, radius: float) -> None:
    assert noise_free_decision_radius(0.5, 1.0, alpha) == pytest.approx(radius, abs=2e-10)


@pytest.mark.parametrize(("inner", "alpha"), [(0.3, 3.62385432), (0.5, 2.06813501), (0.8, 1.62388509)])
def test_printed_critical_alphas(inner: float, alpha: float) -> None:
    assert critical_alpha(inner, 1.0) == pytest.approx(alpha, abs=6e-9)
    assert critical_alpha(3 * inner, 3.0) == pytest.approx(alpha, abs=6e-9)  # the ratio alone matters


@pytest.mark.parametrize("alpha", [2.1, 8.0, 1e3, np.inf])
def test_above_the_critical_alpha_the_boundary_is_the_inner_circle(alpha: float) -> None:
    assert noise_free_decision_radius(0.5, 1.0, alpha) == 0.5


def test_one_circle_at_alpha_one_is_closed_form() -> None:
    """Theory F.9: at alpha = 1 pairs from the circle of radius A have density R / (A sqrt(A^2 - R^2))."""
    from mixup_theory.circles_noise_free import _same_circle

    for R, A in [(0.1, 0.5), (0.49999, 0.5), (0.9, 1.0)]:
        assert _same_circle(R, A, 1.0) == pytest.approx(R / (A * np.sqrt(A**2 - R**2)), rel=1e-12)


@pytest.mark.parametrize("alpha", [0.4, 1.0, 3.0, 20.0])
def test_against_monte_carlo(alpha: float) -> None:
    rng, n = np.random.default_rng(1), 1_000_000
    y, z = rng.random(n) < 0.5, rng.random(n) < 0.5
    angle = rng.uniform(0, 2 * np.pi, n)  # of one point relative to the other
    lam = rng.beta(alpha, alpha, n)
    a, b = lam * np.where(y, 1.0, 0.5), (1 - lam) * np.where(z, 1.0, 0.5)
    R = np.sqrt(a**2 + b**2 + 2 * a * b * np.cos(angle))
    label = lam * y + (1 - lam) * z
    for low, high in [(0.1, 0.2), (0.55, 0.65), (0.8, 0.9)]:
        window = (low < R) & (high > R)
        share = quad(lambda r: noise_free_circle_predictor(r, 0.5, 1.0, alpha)[1], low, high)[0]
        mean = quad(lambda r: np.prod(noise_free_circle_predictor(r, 0.5, 1.0, alpha)), low, high)[0] / share
        assert abs(window.mean() - share) < 6 * np.sqrt(share / n)
        assert abs(label[window].mean() - mean) < 6 * label[window].std() / np.sqrt(window.sum())


@pytest.mark.parametrize("alpha", [0.5, 2.5, np.inf])
def test_it_is_the_limit_of_small_noise(alpha: float) -> None:
    R = 0.65
    limit = noise_free_circle_predictor(R, 0.5, 1.0, alpha)[0]
    gaps = [abs(noisy_circle_predictor(R, 0.5, 1.0, sigma, alpha)[0] - limit) for sigma in (0.04, 0.02, 0.01)]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 2e-3


def test_predictor_falls_to_zero_at_the_inner_circle_for_small_alpha() -> None:
    g, _ = noise_free_circle_predictor(np.array([0.5 - 1e-9, 0.5 + 1e-9]), 0.5, 1.0, 0.3)
    assert np.all(g < 2e-3)


@pytest.mark.parametrize(
    ("radius", "alpha", "message"),
    [
        (0.5, 1.0, "`radius` must be < outer_radius = 1 and differ from inner_radius = 0.5"),
        (1.2, 1.0, "`radius` must be < outer_radius = 1"),
        (0.7, 0.0, "`alpha` must be > 0 without noise"),
    ],
)
def test_bad_input_is_named(radius: float, alpha: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        noise_free_circle_predictor(radius, 0.5, 1.0, alpha)
