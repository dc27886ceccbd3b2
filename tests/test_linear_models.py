"""Linear models trained on mixed pairs against the exact minimisers of the mixup risk."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from mixup_theory.experiments.linear_models import (
    LinearModels,
    implied_weight_decay,
    mixed_loss,
    train_linear_models,
)
from mixup_theory.least_squares import effective_weight_decay, mixup_ols, mixup_ols_no_intercept, mixup_ridge
from mixup_theory.logistic_risk import mixup_logistic_risk
from mixup_theory.moments import shrink_factor
from mixup_theory.two_points import two_point_logistic_slope

ALPHAS = np.array([0.0, 0.3, 1.0, np.inf])
X = np.array([[1.0, -1.0], [2.1, 0.2], [0.2, 0.9], [1.5, 1.1], [-0.5, 0.1], [0.8, -0.6]])
Y = np.array([0.5, 1.9, -0.4, 0.8, -0.9, 0.6])
LABELS = np.array([0.0, 1.0, 0.0, 1.0, 0.0, 1.0])


def assert_mean(values, expected, axis, slack=0.0):
    """The mean over independent runs is within 6 standard errors (plus what the averaging may leave)."""
    error = np.std(values, axis=axis, ddof=1) / np.sqrt(np.shape(values)[axis])
    gap = np.abs(np.mean(values, axis=axis) - expected)
    assert np.all(gap <= 6 * error + slack), (gap, error)


@pytest.mark.parametrize("kappa", [0.0, 0.4])
def test_with_intercept_the_slope_is_ols_and_ridge_is_amplified(kappa):
    models = train_linear_models(X, Y, ALPHAS, np.random.default_rng(1), kappa=kappa, num_seeds=24, learning_rate=0.2)
    exact = mixup_ridge(X, Y, ALPHAS, kappa)
    assert_mean(np.moveaxis(models.slope, 1, 0), exact.slope, axis=0)
    assert_mean(models.intercept, exact.intercept, axis=1)
    assert np.std(models.slope, axis=1).max() < 0.05  # a test that could fail
    decay = implied_weight_decay(X, Y, models.slope.mean(axis=1))
    np.testing.assert_allclose(decay, effective_weight_decay(ALPHAS, kappa), atol=0.015)


def test_without_intercept_the_slope_depends_on_alpha():
    models = train_linear_models(
        X, Y, ALPHAS, np.random.default_rng(2), fit_intercept=False, num_seeds=24, num_steps=800
    )
    exact = mixup_ols_no_intercept(X, Y, ALPHAS)
    assert np.ptp(exact.slope[:, 0]) > 0.03
    assert np.all(models.intercept == 0)
    assert_mean(np.moveaxis(models.slope, 1, 0), exact.slope, axis=0)


def test_one_data_set_for_each_seed():
    rng = np.random.default_rng(3)
    x, y = np.stack([X, 2 * X - 1]), np.stack([Y, 1 - Y])
    models = train_linear_models(np.repeat(x, 12, axis=0), np.repeat(y, 12, axis=0), 1.0, rng, learning_rate=0.05)
    assert models.slope.shape == (24, 2)
    for k in range(2):
        assert_mean(models.slope[12 * k : 12 * k + 12], mixup_ols(x[k], y[k], 1.0).slope, axis=0)


def test_two_points_have_a_finite_slope():
    alphas = np.array([0.1, 1.0, 8.0])
    models = train_linear_models(
        [[1.0], [-1.0]],
        [1.0, 0.0],
        alphas,
        np.random.default_rng(4),
        loss="logistic",
        fit_intercept=False,
        num_seeds=12,
        num_steps=2000,
        learning_rate=4.0,
    )
    exact = two_point_logistic_slope(alphas)
    assert_mean(models.slope[..., 0] / exact[:, None], 1.0, axis=1, slack=2e-3)


def test_logistic_models_minimise_the_exact_mixup_risk():
    alphas = np.array([0.3, 2.0])
    models = train_linear_models(
        X, LABELS, alphas, np.random.default_rng(5), loss="logistic", kappa=0.1, num_seeds=12, learning_rate=0.5
    )
    for a, alpha in enumerate(alphas):
        best = minimize(
            lambda v, a=alpha: mixup_logistic_risk(X, LABELS, v[:2], a, v[2]) + 0.05 * v[:2] @ v[:2],
            np.zeros(3),
            options={"gtol": 1e-8},
        ).x
        assert_mean(models.slope[a], best[:2], axis=0, slack=2e-3)
        assert_mean(models.intercept[a], best[2], axis=0, slack=2e-3)


def test_steps_rate_and_average_by_a_plain_loop():
    models = train_linear_models(
        [[2.0]], [1.0], 1.0, np.random.default_rng(6), kappa=0.3, num_seeds=1, num_steps=7, learning_rate=0.2
    )
    slope = intercept = 0.0
    kept = []
    for t in range(7):
        rate = 0.2 / np.sqrt(1 + 20 * t / 7)
        residual = 2 * slope + intercept - 1
        slope, intercept = slope - rate * (2 * residual + 0.3 * slope), intercept - rate * residual
        kept.append((slope, intercept))
    expected = np.mean(kept[3:], axis=0)
    np.testing.assert_allclose([models.slope[0, 0], models.intercept[0]], expected, rtol=1e-13)


def test_same_generator_same_models():
    runs = [
        train_linear_models(X, Y, ALPHAS, np.random.default_rng(7), num_seeds=2, num_steps=300, batch_size=50)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(runs[0].slope, runs[1].slope)
    assert np.unique(runs[0].slope[..., 0]).size == 8


def test_measured_loss_of_least_squares():
    models = LinearModels(np.broadcast_to([0.9, 0.1], (4, 30, 2)), np.broadcast_to(0.2, (4, 30)), "squared")
    residual = Y - X @ [0.9, 0.1] - 0.2
    exact = shrink_factor(ALPHAS) * residual.var() + residual.mean() ** 2
    loss = mixed_loss(models, X, Y, ALPHAS, np.random.default_rng(8), 5000)
    assert loss.shape == (4, 30)
    assert_mean(loss, exact, axis=1)


def test_measured_loss_of_logistic_models():
    models = LinearModels(np.broadcast_to([1.9, -0.4], (30, 2)), np.broadcast_to(-0.7, 30), "logistic")
    exact = mixup_logistic_risk(X, LABELS, [1.9, -0.4], 0.5, -0.7)
    x, y = np.broadcast_to(X, (30, 6, 2)), np.broadcast_to(LABELS, (30, 6))
    assert_mean(mixed_loss(models, x, y, 0.5, np.random.default_rng(9), 5000), exact, axis=0)


def test_implied_weight_decay_inverts_ridge():
    kappa = np.array([0.0, 0.2, 3.0])
    slope = mixup_ridge(X, Y, 0.0, kappa).slope
    np.testing.assert_allclose(implied_weight_decay(X, Y, slope), kappa, atol=1e-13)
    assert np.shape(implied_weight_decay(X, Y, slope[1])) == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha": -1.0}, "`alpha`"),
        ({"loss": "hinge"}, "`loss`"),
        ({"loss": "logistic"}, "`y` must be in"),
        ({"kappa": -0.1}, "`kappa`"),
        ({"num_seeds": None}, "`num_seeds` must be given"),
        ({"num_seeds": 0}, "`num_seeds`"),
        ({"num_steps": 1}, "`num_steps`"),
        ({"batch_size": 0}, "`batch_size`"),
        ({"learning_rate": 0.0}, "`learning_rate`"),
        ({"learning_rate": 1e3}, "`learning_rate` must be so small"),
        ({"y": Y[:-1]}, "`y` must have one target"),
        ({"x": np.full_like(X, np.nan)}, "`x`"),
        ({"x": X[None], "y": Y[None]}, "`num_seeds` must be given"),
    ],
)
def test_bad_input_is_named(changes, message):
    arguments = {"x": X, "y": Y, "alpha": 1.0, "num_seeds": 2, "num_steps": 200, **changes}
    x, y, alpha = (arguments.pop(name) for name in ("x", "y", "alpha"))
    with pytest.raises(ValueError, match=message):
        train_linear_models(x, y, alpha, np.random.default_rng(0), **arguments)


def test_bad_input_of_the_measures_is_named():
    models = LinearModels(np.ones((2, 3, 2)), np.zeros((2, 3)), "squared")
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="`alpha` must have the shape"):
        mixed_loss(models, X, Y, 1.0, rng, 10)
    with pytest.raises(ValueError, match="`x` must fit"):
        mixed_loss(models, X[:, :1], Y, [0.0, 1.0], rng, 10)
    with pytest.raises(ValueError, match="`num_pairs`"):
        mixed_loss(models, X, Y, [0.0, 1.0], rng, 0)
    with pytest.raises(ValueError, match="`slope`"):
        implied_weight_decay(X, Y, [0.0, 0.0])
    with pytest.raises(ValueError, match="`slope`"):
        implied_weight_decay(X, Y, [1.0])
