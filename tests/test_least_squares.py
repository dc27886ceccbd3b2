"""Least squares under mixup against enumerated pairs, numerical minimisation and theory F.1's numbers."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from scipy.optimize import minimize

from mixup_theory.finite_batch import one_sample_factor
from mixup_theory.least_squares import (
    effective_weight_decay,
    mixup_ols,
    mixup_ols_no_intercept,
    mixup_ridge,
    no_intercept_bias,
    slope_factor,
)
from mixup_theory.weights import expected_max_lam, sample_lam

X = np.array([[1.0, 0.5], [-2.0, 1.0], [3.0, -1.0], [1 / 3, 2.0]])
Y = np.array([1.5, -1.0, 2.0, 0.25])
ALPHAS = (0.0, 1e-8, 0.25, 1.0, 3.0, 1e6, np.inf)


def enumerated_risk(alpha: float, partner: str, intercept: bool) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean of (features, features), (features, label), (label, label) over ordered pairs and lam, term by term."""
    n = len(Y)
    self_pairs = partner in ("independent", "permutation")
    pairs = [(i, j) for i, j in product(range(n), range(n)) if self_pairs or i != j]
    squares = 0.5 if np.isinf(alpha) else (alpha + 1) / (2 * alpha + 1)  # 2 E lam^2
    second, cross = squares / 2, (1 - squares) / 2  # E lam^2, E lam (1 - lam)
    features = np.column_stack([np.ones(n), X]) if intercept else X
    gram, moment, square = np.zeros((features.shape[1],) * 2), np.zeros(features.shape[1]), 0.0
    for i, j in pairs:
        for (a, b), weight in (((i, i), second), ((j, j), second), ((i, j), cross), ((j, i), cross)):
            gram += weight * np.outer(features[a], features[b]) / len(pairs)
            moment += weight * features[a] * Y[b] / len(pairs)
            square += weight * Y[a] * Y[b] / len(pairs)
    return gram, moment, square


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("partner", ["independent", "permutation", "derangement", "flip", "roll"])
def test_fits_minimise_the_enumerated_risk(alpha: float, partner: str) -> None:
    gram, moment, square = enumerated_risk(alpha, partner, intercept=True)
    wanted = np.linalg.solve(gram, moment)
    fit = mixup_ols(X, Y, alpha, partner=partner)
    np.testing.assert_allclose([fit.intercept, *fit.slope], wanted, rtol=1e-12)
    np.testing.assert_allclose(fit.training_mse, square - moment @ wanted, rtol=1e-12)

    penalised = np.linalg.solve(gram + np.diag([0, 0.2, 0.2]), moment)
    ridge = mixup_ridge(X, Y, alpha, 0.2, partner=partner)
    np.testing.assert_allclose([ridge.intercept, *ridge.slope], penalised, rtol=1e-12)
    np.testing.assert_allclose(
        ridge.training_mse, square - 2 * moment @ penalised + penalised @ gram @ penalised, rtol=1e-12
    )

    gram, moment, square = enumerated_risk(alpha, partner, intercept=False)
    wanted = np.linalg.solve(gram, moment)
    free = mixup_ols_no_intercept(X, Y, alpha, partner=partner)
    np.testing.assert_allclose(free.slope, wanted, rtol=1e-12)
    np.testing.assert_allclose(free.training_mse, square - moment @ wanted, rtol=1e-11)
    assert free.intercept == 0


def test_ols_is_unchanged_and_its_error_shrinks() -> None:
    design = np.column_stack([np.ones(4), X])
    plain, rss, *_ = np.linalg.lstsq(design, Y, rcond=None)
    fit = mixup_ols(X, Y, ALPHAS)
    assert fit.slope.shape == (len(ALPHAS), 2)
    np.testing.assert_allclose(fit.slope, np.tile(plain[1:], (len(ALPHAS), 1)), rtol=1e-12)
    np.testing.assert_allclose(fit.training_mse, one_sample_factor(4, ALPHAS, "independent") * rss / 4, rtol=1e-12)


def test_the_printed_example_without_intercept() -> None:
    fit = mixup_ols_no_intercept(X, Y, [0.0, 1.0])
    printed = [["851/1176", "289/1764"], ["80937/108712", "10981/54356"]]
    np.testing.assert_allclose(fit.slope, [[float(Fraction(v)) for v in row] for row in printed], rtol=1e-12)


def test_ridge_is_amplified_by_one_over_s() -> None:
    alphas = np.array(ALPHAS)
    decays = effective_weight_decay(alphas, 0.3)
    np.testing.assert_allclose(decays, 0.3 / np.array([1, 1, 1.25 / 1.5, 2 / 3, 4 / 7, 0.5, 0.5]), rtol=1e-6)
    for alpha, decay in zip(alphas, decays, strict=True):
        np.testing.assert_allclose(mixup_ridge(X, Y, alpha, 0.3).slope, mixup_ridge(X, Y, 0.0, decay).slope, rtol=1e-12)
    assert mixup_ridge(X, Y, alphas[:, None], [0.1, 0.2, 0.3]).slope.shape == (7, 3, 2)


def test_ridge_minimises_the_stated_objective() -> None:
    gram, moment, square = enumerated_risk(1.0, "independent", intercept=True)

    def objective(v: np.ndarray) -> float:
        return 0.5 * (square - 2 * moment @ v + v @ gram @ v) + 0.5 * 0.4 * (v[1:] @ v[1:])

    found = minimize(objective, np.zeros(3), method="BFGS", options={"gtol": 1e-10})
    fit = mixup_ridge(X, Y, 1.0, 0.4)
    np.testing.assert_allclose([fit.intercept, *fit.slope], found.x, atol=1e-7)


def test_no_intercept_bias_is_the_difference_of_fits() -> None:
    x, y = X[:, :1], Y
    for alpha in ALPHAS:
        change = mixup_ols_no_intercept(x, y, alpha).slope - mixup_ols_no_intercept(x, y, 0.0).slope
        covariance = np.mean(x[:, 0] * y) - x.mean() * y.mean()
        got = no_intercept_bias(alpha, x.mean(), y.mean(), x.var(), covariance)
        np.testing.assert_allclose(got, change[0], rtol=1e-10, atol=1e-16)
    assert no_intercept_bias(1.0, 2.0, 4.0, 1.0, 2.0) == 0  # true intercept 0: nothing changes
    assert no_intercept_bias([0.5, 1.0], 2.0, 1.0, [[1.0], [2.0]], 1.0).shape == (2, 2)


@pytest.mark.parametrize(
    ("labels", "lam_max"), [("mixed", False), ("first", False), ("first", True), ("sampled", False)]
)
@pytest.mark.parametrize("partner", ["independent", "roll"])
def test_slope_factor_against_simulation(labels: str, lam_max: bool, partner: str) -> None:
    rng = np.random.default_rng(7)
    n, draws = 6, 200_000
    x = rng.standard_normal(n)
    y = 2 * x + rng.standard_normal(n)
    i = rng.integers(0, n, draws)
    j = rng.integers(0, n, draws) if partner == "independent" else (i + rng.integers(1, n, draws)) % n
    lam, rest = sample_lam(rng, draws, 0.6)
    if lam_max:
        lam, rest = np.maximum(lam, rest), np.minimum(lam, rest)
    u = lam * x[i] + rest * x[j]
    v = {"mixed": lam * y[i] + rest * y[j], "first": y[i], "sampled": np.where(rng.random(draws) < lam, y[i], y[j])}[
        labels
    ]
    plain = np.cov(x, y, bias=True)[0, 1] / x.var()
    predicted = plain * slope_factor(0.6, labels, lam_max=lam_max, partner=partner, num_samples=n)
    u, v = u - u.mean(), v - v.mean()
    error = np.std(u * (v - predicted * u)) / np.sqrt(draws) / np.mean(u**2)
    assert abs(np.mean(u * v) / np.mean(u**2) - predicted) < 6 * error


def test_slope_factor_closed_forms_and_limits() -> None:
    a = np.array([1e-8, 0.4, 2.0, 1e6])
    np.testing.assert_allclose(slope_factor(a, "first"), (2 * a + 1) / (2 * (a + 1)), rtol=1e-14)
    s = (a + 1) / (2 * a + 1)
    np.testing.assert_allclose(slope_factor(a, "first", lam_max=True), expected_max_lam(a) / s, rtol=1e-14)
    assert round(slope_factor(0.4, "first", lam_max=True), 4) == 1.0797
    assert np.all(slope_factor(a, "first", lam_max=True) > 1)
    assert slope_factor([0.0, np.inf], "first").tolist() == [0.5, 1.0]
    assert slope_factor([0.0, np.inf], "first", lam_max=True).tolist() == [1.0, 1.0]
    assert slope_factor(a, "sampled").tolist() == [1.0] * 4
    np.testing.assert_allclose(
        slope_factor(a, "first", lam_max=True, partner="roll", num_samples=5),
        (5 * expected_max_lam(a) - 1) / (5 * s - 1),
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mixup_ols(X, Y[:3], 1.0), "same length"),
        (lambda: mixup_ols(np.column_stack([X, X[:, 0]]), Y, 1.0), "full column rank"),
        (lambda: mixup_ols_no_intercept(np.zeros((4, 1)), Y, 1.0), "full column rank"),
        (lambda: mixup_ols(X, Y, -1.0), "`alpha` must be"),
        (lambda: mixup_ols(X * np.nan, Y, 1.0), "`x` must be"),
        (lambda: mixup_ols(X, Y, 1.0, partner="friend"), "`partner` must be"),
        (lambda: mixup_ols(X[:2, :1], Y[:2], np.inf, partner="derangement"), "all mixtures coincide"),
        (lambda: mixup_ridge(X, Y, 1.0, -0.1), "`kappa` must be"),
        (lambda: mixup_ridge(X, Y, 1.0, "big"), "`kappa` must be"),
        (lambda: slope_factor(1.0, "second"), "`labels` must be"),
        (lambda: slope_factor(1.0, num_samples=1), "`num_samples` must be"),
        (lambda: no_intercept_bias(1.0, 0.0, 0.0, 0.0, 1.0), "`variance` must be"),
        (lambda: effective_weight_decay(1.0, np.inf), "`kappa` must be"),
    ],
)
def test_bad_input(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
