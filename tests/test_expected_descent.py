"""Expected gradient descent against enumerated permutations, brute-force training, the exact flow and known optima."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mixup_theory.annealing import Schedule
from mixup_theory.expected_descent import decayed_optimum, displacement, expected_descent
from mixup_theory.flows import ScalarRegression, annealed_flow_error
from mixup_theory.least_squares import mixup_ols, mixup_ols_no_intercept
from mixup_theory.mixing import draw_lam
from mixup_theory.quadrature import gauss_rule

X = np.array([[1.0, -1.0], [2.1, 0.2], [0.2, 0.9], [1.5, 1.1]])
Y = np.array([[0.5, 1.0], [1.9, -1.0], [-0.4, 0.3], [0.8, 0.0]])
ALPHAS = (0.0, 0.3, 2.0, np.inf)


def enumerated_gradient(beta, alpha, kappa):
    """Mean gradient over all permutations of the data and, by a Gauss rule, over lam."""
    nodes, weights = gauss_rule(4, alpha)
    total = np.zeros_like(beta)
    permutations = list(itertools.permutations(range(len(X))))
    for partner, (lam, weight) in itertools.product(permutations, zip(nodes, weights, strict=True)):
        x, y = (lam * v + (1 - lam) * v[list(partner)] for v in (X, Y))
        total += weight * x.T @ (x @ beta - y) / len(X) / len(permutations)
    return total + kappa * beta


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("kappa", [0.0, 0.7])
def test_one_step_is_the_mean_over_every_permutation_and_lam(alpha, kappa):
    beta = np.array([[0.3, -2.0], [1.1, 0.4]])
    schedule = Schedule("constant", alpha, total=1)
    steps = expected_descent(X, Y, schedule, 1, learning_rate=0.2, kappa=kappa, initial=beta)
    np.testing.assert_array_equal(steps[0], beta)
    np.testing.assert_allclose(steps[1], beta - 0.2 * enumerated_gradient(beta, alpha, kappa), rtol=1e-12)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_optimum_has_no_mean_gradient(alpha):
    beta = decayed_optimum(X, Y, alpha, kappa=0.7)
    np.testing.assert_allclose(enumerated_gradient(beta, alpha, 0.7), 0, atol=1e-12)


def test_the_optimum_without_decay_is_least_squares():
    for alpha in (0.0, 1.0):
        one = Y[:, 0]
        free = mixup_ols_no_intercept(X, one, alpha).slope
        np.testing.assert_allclose(decayed_optimum(X, Y, alpha)[:, 0], free, rtol=1e-12)
        fit = mixup_ols(X, one, alpha)
        with_ones = decayed_optimum(np.column_stack([X, np.ones(4)]), Y, alpha)[:, 0]
        np.testing.assert_allclose(with_ones, [*fit.slope, fit.intercept], rtol=1e-10)


def test_small_steps_follow_the_exact_flow():
    x, y = X[:, :1], Y[:, :1]
    problem = ScalarRegression(x.mean(), x.var(), np.mean((x - x.mean()) * (y - y.mean())), y.mean())
    for kind, more in (("linear", {}), ("exponential", {"rate": 1.0}), ("constant", {}), ("rising", {})):
        eta, end = 1e-4, 3.0
        discrete = {name: value * (eta if name == "rate" else 1) for name, value in more.items()}
        path = expected_descent(
            x, y, Schedule(kind, 2.0, total=2 / eta, **discrete), round(end / eta), learning_rate=eta
        )
        flow = annealed_flow_error(Schedule(kind, 2.0, total=2.0, **more), end, problem, -problem.erm_slope)
        assert path[-1].item() - problem.erm_slope == pytest.approx(flow, abs=5e-4)


def test_the_limit_is_the_optimum_at_the_last_alpha():
    for kind, last in (("linear", 0.0), ("off-at-epoch", 0.0), ("rising", 2.0), ("constant", 2.0)):
        schedule = Schedule(kind, 2.0, total=100, step=50.0 if kind == "off-at-epoch" else None)
        path = expected_descent(X, Y, schedule, 3000, learning_rate=0.3, kappa=0.1)
        np.testing.assert_allclose(path[-1], decayed_optimum(X, Y, last, kappa=0.1), rtol=1e-10)


def test_trained_models_have_this_mean():
    rng, schedule, runs = np.random.default_rng(5), Schedule("hesitation", 1.0, total=20), 4000
    predicted = expected_descent(X, Y, schedule, 20, learning_rate=0.3, kappa=0.2)
    betas = np.zeros((runs, 2, 2))
    for step in range(20):
        partner = rng.permuted(np.tile(np.arange(4), (runs, 1)), axis=1)
        lam = draw_lam(rng, runs, float(schedule.alpha(step)), "sample")
        lam = np.where(rng.random(runs) < schedule.probability(step), lam, 1.0)[:, None, None]
        x, y = (lam * v + (1 - lam) * v[partner] for v in (X, Y))
        betas -= 0.3 * (x.swapaxes(1, 2) @ (x @ betas - y) / 4 + 0.2 * betas)
    error = betas.std(axis=0, ddof=1) / np.sqrt(runs)
    assert np.all(np.abs(betas.mean(axis=0) - predicted[-1]) < 6 * error)
    assert error.max() < 0.01


def test_displacement_is_linear_and_ignores_what_is_off_the_way():
    a, b = decayed_optimum(X, Y, 0.0, kappa=0.5), decayed_optimum(X, Y, 1.0, kappa=0.5)
    way = b - a
    across = np.array([[way[0, 1], -way[0, 0]], [0.0, 0.0]])
    assert displacement([a, b, a + 0.3 * way + 5 * across], a, b) == pytest.approx([0.0, 1.0, 0.3])


def test_wrong_arguments_are_named():
    schedule = Schedule("constant", 1.0, total=1)
    with pytest.raises(ValueError, match="`y` must have one row per row of `x`"):
        decayed_optimum(X, Y[:2], 1.0)
    with pytest.raises(ValueError, match="`kappa` must be a finite number >= 0"):
        decayed_optimum(X, Y, 1.0, kappa=-1.0)
    with pytest.raises(ValueError, match="`learning_rate` must be a finite number > 0"):
        expected_descent(X, Y, schedule, 1, learning_rate=0.0)
    with pytest.raises(ValueError, match="`initial` must have the shape"):
        expected_descent(X, Y, schedule, 1, learning_rate=0.1, initial=[[1.0]])
    with pytest.raises(ValueError, match="`beta` must end in the shape"):
        displacement([[1.0]], X, X + 1)
    with pytest.raises(ValueError, match="`end` must differ"):
        displacement(X, X, X)
