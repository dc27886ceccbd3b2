"""Logistic regression on mixed Gaussian classes against theory F.4's tables, a 2-D solve and mpmath."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from scipy.special import expit, logit, ndtr

from mixup_theory.gaussian_mixture import (
    derive_balanced_boundary,
    gmm_coefficients,
    gmm_error,
    gmm_logistic_fit,
    gmm_logit_scale,
    gmm_temperature,
    gmm_threshold,
)
from mixup_theory.quadrature import gauss_rule
from mixup_theory.two_points import two_point_logistic_slope

ALPHAS = [0.1, 0.4, 1.0, 4.0]


def test_the_printed_table() -> None:
    scales = gmm_logit_scale(ALPHAS, [[1.0], [2.0]])
    printed = [[1.838726, 1.621573, 1.479590, 1.362738], [1.147811, 0.835929, 0.719111, 0.652307]]
    np.testing.assert_allclose(scales, printed, atol=5.1e-7, rtol=0)
    temperatures = gmm_temperature(ALPHAS, [[1.0], [2.0]])
    printed = [[1.088, 1.233, 1.352, 1.468], [1.742, 2.393, 2.781, 3.066]]
    np.testing.assert_allclose(temperatures, printed, atol=5.1e-4, rtol=0)


def test_the_printed_imbalanced_numbers() -> None:
    thresholds = gmm_threshold([0.2, 1.0, 4.0, 0.0], 2.0, 0.95)
    np.testing.assert_allclose(thresholds, [-1.4647, -1.3017, -1.0870, -1.4722], atol=5.1e-5, rtol=0)
    errors = gmm_error([0.2, 1.0, 4.0, 0.0], 2.0, 0.95)
    np.testing.assert_allclose(errors, [0.00811, 0.00825, 0.00884, 0.00811], atol=5.1e-6, rtol=0)
    assert np.all(errors[:3] > errors[3])


def residual(c: float, alpha: float, distance: float) -> float:
    """The equation for c as theory F.4 prints it, by tensor quadrature: Gauss in lam, Gauss-Hermite in xi."""
    lam, weights = gauss_rule(80, alpha)
    xi, normal = np.polynomial.hermite_e.hermegauss(150)
    normal = normal / normal.sum()
    noise = np.sqrt(lam**2 + (1 - lam) ** 2)[:, None] * distance * xi
    same = distance**2 + noise
    mixed = distance**2 * (2 * lam - 1)[:, None] + noise
    total = weights @ ((expit(c * same) - 1) * same) @ normal
    return 0.5 * total + 0.5 * weights @ ((expit(c * mixed) - lam[:, None]) * mixed) @ normal


@pytest.mark.parametrize("alpha", [0.1, 1.0, 4.0, 50.0])
@pytest.mark.parametrize("distance", [0.3, 1.0, 2.0])
def test_the_scale_solves_the_printed_equation(alpha: float, distance: float) -> None:
    c = gmm_logit_scale(alpha, distance)
    low, high = residual(c * (1 - 1e-7), alpha, distance), residual(c * (1 + 1e-7), alpha, distance)
    assert low < 0 < high


def test_tiny_alpha_against_its_first_order() -> None:
    """C = 2 - k alpha + O(alpha^2): the defect scales with alpha, down to where 2 - c is all rounding."""
    defects = (2 - gmm_logit_scale([1e-4, 1e-6, 1e-8], 1.0)) / [1e-4, 1e-6, 1e-8]
    np.testing.assert_allclose(defects[1:], defects[0], rtol=1e-3)


@pytest.mark.parametrize("alpha", [0.3, 3.0])
@pytest.mark.parametrize("prior", [0.5, 0.8])
def test_a_full_solve_in_two_dimensions_has_the_stated_direction(alpha: float, prior: float) -> None:
    """Newton over (intercept, two weights) with an anisotropic covariance, on a tensor quadrature."""
    mean, covariance = np.array([0.9, -0.4]), np.array([[1.0, 0.6], [0.6, 2.0]])
    root = np.linalg.cholesky(covariance)
    lam, weights = gauss_rule(40, alpha)
    xi, normal = np.polynomial.hermite_e.hermegauss(40)
    normal = normal / normal.sum()
    noise = np.stack(np.meshgrid(xi, xi, indexing="ij"), axis=-1).reshape(-1, 2) @ root.T
    noise_weight = np.outer(normal, normal).ravel()
    points, labels, masses = [], [], []
    for t, w in zip(lam, weights, strict=True):
        q = np.sqrt(t**2 + (1 - t) ** 2)
        for first, second in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            tau = t * first + (1 - t) * second
            chance = (prior if first == 1 else 1 - prior) * (prior if second == 1 else 1 - prior)
            points.append(tau * mean + q * noise)
            labels.append(np.full(len(noise), (1 + tau) / 2))
            masses.append(w * chance * noise_weight)
    design = np.column_stack([np.ones(len(points) * len(noise)), np.concatenate(points)])
    label, mass = np.concatenate(labels), np.concatenate(masses)
    solution = np.zeros(3)
    for _ in range(30):
        prediction = expit(design @ solution)
        gradient = design.T @ (mass * (prediction - label))
        hessian = (design * (mass * prediction * (1 - prediction))[:, None]).T @ design
        solution -= np.linalg.solve(hessian, gradient)
    direction = np.linalg.solve(covariance, mean)
    distance = float(np.sqrt(mean @ direction))
    intercept, scale = gmm_logistic_fit(alpha, distance, prior)
    np.testing.assert_allclose(solution[1:], scale * direction, rtol=1e-8)
    np.testing.assert_allclose(solution[0], intercept, rtol=1e-8, atol=1e-10)
    if prior == 0.5:
        np.testing.assert_allclose(gmm_coefficients(alpha, mean, covariance), solution[1:], rtol=1e-8)


def test_erm_is_bayes() -> None:
    prior = np.array([0.01, 0.5, 0.95])
    intercept, scale = gmm_logistic_fit(0.0, 2.0, prior)
    np.testing.assert_allclose(intercept, logit(prior), rtol=1e-15)
    assert scale.tolist() == [2.0] * 3
    threshold = -0.5 * logit(prior)
    bayes = prior * ndtr((threshold - 4) / 2) + (1 - prior) * ndtr((-threshold - 4) / 2)
    np.testing.assert_allclose(gmm_error(0.0, 2.0, prior), bayes, rtol=1e-12)


def test_almost_erm_is_almost_bayes() -> None:
    """The general solver, at an alpha that changes nothing in double precision."""
    intercept, scale = gmm_logistic_fit(1e-300, [0.01, 1.0, 5.0], 0.9)
    np.testing.assert_allclose(scale, 2.0, rtol=1e-10)
    np.testing.assert_allclose(intercept, logit(0.9), rtol=1e-10)


@pytest.mark.parametrize("alpha", [1e-8, 1e-3, 1.0, 1e6])
def test_limits_in_the_distance(alpha: float) -> None:
    assert gmm_logit_scale(alpha, 1e-3) == pytest.approx(2.0, abs=1e-5)
    assert gmm_logit_scale(alpha, 1e-9) == pytest.approx(2.0, abs=1e-9)
    if alpha < 1e6:  # noise is below the spacing of the mixtures: two points remain
        slopes = np.array([gmm_logit_scale(alpha, d) * d**2 for d in (7.0, 14.0)])
        gaps = slopes / two_point_logistic_slope(alpha) - 1
        assert abs(gaps[1]) < 0.06
        assert abs(gaps[1]) < abs(gaps[0])


def test_infinite_alpha_is_the_limit() -> None:
    np.testing.assert_allclose(
        gmm_logistic_fit(1e6, [0.5, 2.0, 8.0], 0.8), gmm_logistic_fit(np.inf, [0.5, 2.0, 8.0], 0.8), rtol=1e-4
    )


def test_the_boundary_of_equal_classes_does_not_move() -> None:
    assert derive_balanced_boundary().verify().result == 0
    thresholds = gmm_threshold([1e-8, 0.2, 1.0, 40.0, np.inf], [[0.5], [2.0], [6.0]])
    np.testing.assert_allclose(thresholds, float(derive_balanced_boundary().result), atol=1e-11)
    np.testing.assert_allclose(gmm_error([0.0, 0.2, np.inf], 2.0), float(mp.ncdf(-2)), rtol=1e-10)


def test_swapping_the_classes_flips_the_sign() -> None:
    np.testing.assert_allclose(gmm_threshold(1.0, 2.0, 0.3), -gmm_threshold(1.0, 2.0, 0.7), rtol=1e-10)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gmm_threshold(1.0, 2.0, 0.0), "`prior` must be in"),
        (lambda: gmm_threshold(1.0, 2.0, 1.0), "`prior` must be in"),
        (lambda: gmm_error(1.0, 2.0, np.nan), "`prior` must be in"),
        (lambda: gmm_logit_scale(1.0, 0.0), "`mahalanobis` must be in"),
        (lambda: gmm_logit_scale(1.0, 21.0), "`mahalanobis` must be in"),
        (lambda: gmm_logit_scale(-1.0, 1.0), "`alpha` must be"),
        (lambda: gmm_coefficients(1.0, [1.0, 0.0], [[1.0]]), "`covariance` must be symmetric"),
        (lambda: gmm_coefficients(1.0, [1.0, 0.0], [[1.0, 2.0], [2.0, 1.0]]), "positive definite"),
        (lambda: gmm_coefficients(1.0, [0.0], [[1.0]]), "`mahalanobis` must be in"),
    ],
)
def test_bad_input(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
