"""The noisy circle predictor against the Rice average, Monte Carlo, the printed table and Bayes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import rice

from mixup_theory.circles import check_radii, circle_boundary, noisy_circle_predictor, rice_density
from mixup_theory.quadrature import gauss_rule

# theory F.9: radius and error for (inner radius, sigma), outer radius 1
TABLE = {
    (0.5, 0.05): {0.05: (0.65658, 0.000504), 0.2: (0.63493, 0.001987), 1: (0.60033, 0.012468), 32: (0.54766, 0.091307)},
    (0.5, 0.1): {
        0.05: (0.73881, 0.007174),
        0.4: (0.67704, 0.023280),
        4: (0.58775, 0.108139),
        np.inf: (0.58068, 0.118877),
    },
    (0.8, 0.05): {
        0.1: (0.88965, 0.025841),
        1: (0.84351, 0.100667),
        8: (0.83364, 0.130398),
        np.inf: (0.83080, 0.139741),
    },
}
BAYES = {(0.5, 0.05): (0.7517, 2.96e-7), (0.5, 0.1): (0.7570, 0.006420), (0.8, 0.05): (0.9014, 0.022834)}


def by_rice_average(R: float, inner: float, outer: float, sigma: float, alpha: float) -> tuple[float, float]:
    """The other form of theory F.9: average Rice densities over lam and the angle."""
    nodes, weights = gauss_rule(400, alpha)
    phi = (np.arange(400) + 0.5) * np.pi / 400
    lam = nodes[:, None]
    total = labelled = 0.0
    for A in (inner, outer):
        for B in (inner, outer):
            amplitude = np.sqrt(lam**2 * A**2 + (1 - lam) ** 2 * B**2 + 2 * lam * (1 - lam) * A * B * np.cos(phi))
            density = rice_density(R, amplitude, (lam**2 + (1 - lam) ** 2) * sigma**2).mean(axis=1)
            y = nodes * (outer == A) + (1 - nodes) * (outer == B)
            total += weights @ density / 4
            labelled += weights @ (y * density) / 4
    return labelled / total, total


@pytest.mark.parametrize("alpha", [0.05, 0.7, 1.0, 3.0, 32.0])
@pytest.mark.parametrize("sigma", [0.05, 0.15])
def test_against_the_rice_average(alpha: float, sigma: float) -> None:
    for R in (0.1, 0.45, 0.6, 0.75, 1.05):
        g, density = noisy_circle_predictor(R, 0.5, 1.0, sigma, alpha)
        expected_g, expected_density = by_rice_average(R, 0.5, 1.0, sigma, alpha)
        assert density == pytest.approx(expected_density, rel=1e-8)
        assert g == pytest.approx(expected_g, abs=1e-8)


def test_against_monte_carlo() -> None:
    rng, n, alpha, sigma = np.random.default_rng(0), 1_000_000, 0.6, 0.1

    def points(labels: np.ndarray) -> np.ndarray:
        angle = rng.uniform(0, 2 * np.pi, n)
        radius = np.where(labels, 1.0, 0.5)
        return radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1) + sigma * rng.normal(size=(n, 2))

    y, z = rng.random(n) < 0.5, rng.random(n) < 0.5
    lam = rng.beta(alpha, alpha, n)[:, None]
    R = np.linalg.norm(lam * points(y) + (1 - lam) * points(z), axis=1)
    label = lam[:, 0] * y + (1 - lam[:, 0]) * z
    for low in (0.3, 0.55, 0.7, 0.95):
        window = (R > low) & (R < low + 0.05)
        share = quad(lambda r: noisy_circle_predictor(r, 0.5, 1, sigma, alpha)[1], low, low + 0.05)[0]
        mean = quad(lambda r: np.prod(noisy_circle_predictor(r, 0.5, 1, sigma, alpha)), low, low + 0.05)[0] / share
        assert abs(window.mean() - share) < 6 * np.sqrt(share / n)
        assert abs(label[window].mean() - mean) < 6 * label[window].std() / np.sqrt(window.sum())


@pytest.mark.parametrize("setting", TABLE)
def test_printed_radii_and_errors(setting: tuple[float, float]) -> None:
    inner, sigma = setting
    for alpha, (radius, error) in TABLE[setting].items():
        boundary = circle_boundary(inner, 1.0, sigma, alpha)
        assert boundary.radius == pytest.approx(radius, abs=6e-6)
        assert boundary.error == pytest.approx(error, abs=6e-7)
        assert boundary.bayes_error == pytest.approx(BAYES[setting][1], rel=2e-3)
        assert boundary.error > boundary.bayes_error


@pytest.mark.parametrize("setting", BAYES)
def test_alpha_zero_is_the_bayes_rule(setting: tuple[float, float]) -> None:
    inner, sigma = setting
    boundary = circle_boundary(inner, 1.0, sigma, 0.0)
    assert boundary.radius == pytest.approx(BAYES[setting][0], abs=6e-5)
    R = boundary.radius
    assert rice_density(R, inner, sigma**2) == pytest.approx(rice_density(R, 1.0, sigma**2), rel=1e-8)


def test_the_limit_alpha_to_zero_is_linear() -> None:
    """g* - Bayes is of order alpha; the peeled part keeps its digits down to 1e-8."""
    bayes, _ = noisy_circle_predictor(0.8, 0.5, 1.0, 0.1, 0.0)
    shifts = [(noisy_circle_predictor(0.8, 0.5, 1.0, 0.1, a)[0] - bayes) / a for a in (1e-8, 1e-6, 1e-4)]
    assert shifts[0] == pytest.approx(shifts[1], rel=1e-5)
    assert shifts[1] == pytest.approx(shifts[2], rel=1e-2)


def test_the_limit_alpha_to_infinity() -> None:
    limit, _ = noisy_circle_predictor(0.6, 0.5, 1.0, 0.1, np.inf)
    gaps = [noisy_circle_predictor(0.6, 0.5, 1.0, 0.1, a)[0] - limit for a in (1e4, 1e5, 1e6)]
    assert gaps[0] / gaps[1] == pytest.approx(10, rel=0.01)
    assert gaps[1] / gaps[2] == pytest.approx(10, rel=0.05)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 2.0, np.inf])
def test_density_integrates_to_one(alpha: float) -> None:
    grid = np.linspace(1e-6, 1.8, 4001)
    _, density = noisy_circle_predictor(grid, 0.5, 1.0, 0.1, alpha)
    assert np.trapezoid(density, grid) == pytest.approx(1, abs=1e-6)


def test_rice_density_against_scipy() -> None:
    np.testing.assert_allclose(rice_density(0.7, 0.5, 0.04), rice.pdf(0.7, 0.5 / 0.2, scale=0.2), rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.6, 1.0, 0.5, 0.1, 1.0), "`inner_radius` must be < `outer_radius`, got 1 and 0.5"),
        ((0.6, 0.5, 1.0, -0.1, 1.0), "`sigma` must be a finite number > 0, got -0.1"),
        ((0.6, 0.5, 1.0, 0.1, -1.0), "`alpha` must be a number >= 0"),
        ((-0.6, 0.5, 1.0, 0.1, 1.0), "`radius` must be a finite number > 0"),
        ((0.6, 0.0, 1.0, 0.1, 1.0), "`inner_radius` must be a finite number > 0"),
    ],
)
def test_bad_input_is_named(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        noisy_circle_predictor(*arguments)


def test_check_radii() -> None:
    assert check_radii(0.5, 1) == (0.5, 1.0)
