"""Population means and covariances against enumeration and independent closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from scipy import stats

from mixup_theory.covariance import (
    covariance_factor,
    derive_covariance_factor,
    derive_mean_preserved,
    dirichlet_factor,
    loewner_gap,
    mixed_covariance,
)
from mixup_theory.laws import Beta, DirichletWeights, Fixed, LargerBeta
from mixup_theory.quadrature import gauss_rule

X = np.array([[-1.7, 0.4], [0.3, -1.0], [0.9, 2.2], [2.4, 0.1]])
COVARIANCE = np.cov(X, rowvar=False, bias=True)
# chance of the ordered pair (i, j): rows and columns sum to 1/4, so both members are uniform, but not independent
DEPENDENT = np.array([[0.5, 0.3, 0.2, 0.0], [0.1, 0.4, 0.1, 0.4], [0.4, 0.0, 0.5, 0.1], [0.0, 0.3, 0.2, 0.5]]) / 4


def enumerated(pair_chance, nodes, weights):
    """Mean and covariance of the mixture by summing over pairs and weights."""
    z = nodes[:, None, None, None] * X[:, None] + (1 - nodes)[:, None, None, None] * X[None]
    chance = weights[:, None, None] * pair_chance
    mean = np.einsum("wij,wijp->p", chance, z)
    return mean, np.einsum("wij,wijp,wijq->pq", chance, z - mean, z - mean)


@pytest.mark.parametrize("alpha", [1e-8, 0.05, 0.2, 1.0, 4.0, 1e6])
@pytest.mark.parametrize("dependent", [False, True])
def test_covariance_equals_enumeration(alpha, dependent):
    chance = DEPENDENT if dependent else np.full((4, 4), 1 / 16)
    centred = X - X.mean(axis=0)
    cross = np.einsum("ij,ip,jq->pq", chance, centred, centred)
    mean, covariance = enumerated(chance, *gauss_rule(3, alpha))
    np.testing.assert_allclose(mean, X.mean(axis=0), rtol=1e-12)
    got = mixed_covariance(COVARIANCE, alpha, cross if dependent else None)
    np.testing.assert_allclose(got, covariance, rtol=1e-12)


@pytest.mark.parametrize("lam", [-0.5, 0.0, 0.3, 0.5, 1.4])
def test_fixed_weight(lam):
    _, covariance = enumerated(np.full((4, 4), 1 / 16), np.array([lam]), np.array([1.0]))
    np.testing.assert_allclose(mixed_covariance(COVARIANCE, Fixed(lam)), covariance, rtol=1e-12)
    np.testing.assert_allclose(covariance_factor(Fixed(lam)), lam**2 + (1 - lam) ** 2, rtol=1e-12)


def test_extrapolation_inflates():
    """The corrected claim: factor 2.12 at lam = 1.4, so no direction shrinks."""
    assert round(covariance_factor(Fixed(1.4)), 6) == 2.12
    assert loewner_gap(COVARIANCE, mixed_covariance(COVARIANCE, Fixed(1.4))) < 0
    assert loewner_gap(COVARIANCE, mixed_covariance(COVARIANCE, 1.0)) > 0


def test_loewner_order_needs_the_cross_covariance_below():
    """Identical members (C = Sigma) do not shrink; anti-correlated ones shrink more than independent ones."""
    np.testing.assert_allclose(mixed_covariance(COVARIANCE, 0.7, COVARIANCE), COVARIANCE, rtol=1e-14)
    gaps = [loewner_gap(COVARIANCE, mixed_covariance(COVARIANCE, 0.7, c * COVARIANCE)) for c in (-1, 0, 0.5)]
    smallest = np.linalg.eigvalsh(COVARIANCE)[0]
    np.testing.assert_allclose(gaps, 2 * Beta(0.7).mean_p * smallest * np.array([2, 1, 0.5]), rtol=1e-12)


@pytest.mark.parametrize("a", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("b", [0.4, 1.0, 6.0])
def test_general_beta_law(a, b):
    s = (a * (a + 1) + b * (b + 1)) / ((a + b) * (a + b + 1))
    variance, mean = stats.beta.var(a, b), stats.beta.mean(a, b)
    np.testing.assert_allclose(covariance_factor(Beta(a, b)), s, rtol=1e-12)
    np.testing.assert_allclose(covariance_factor(Beta(a, b)), 0.5 + 2 * variance + 2 * (mean - 0.5) ** 2, rtol=1e-12)


def test_factor_limits_and_broadcasting():
    alphas = np.array([0.0, 1.0, np.inf])
    np.testing.assert_allclose(covariance_factor(alphas), [1, 2 / 3, 0.5], rtol=1e-15)
    np.testing.assert_allclose(covariance_factor(LargerBeta(alphas)), covariance_factor(alphas), rtol=1e-15)
    table = covariance_factor(alphas[:, None], np.array([0.5, -0.2]))
    s = covariance_factor(alphas)[:, None]
    np.testing.assert_allclose(table, 1 - (1 - s) * (1 - np.array([0.5, -0.2])), rtol=1e-14)


@pytest.mark.parametrize("concentrations", [[0.2, 0.2], [0.5, 1.5], [1.0, 2.0, 3.0], [0.1, 4.0, 0.3, 2.0]])
def test_dirichlet_factor_from_its_marginals(concentrations):
    """Each weight is Beta(alpha_i, alpha_0 - alpha_i)."""
    total = sum(concentrations)
    expected = sum(stats.beta.moment(2, c, total - c) for c in concentrations)
    np.testing.assert_allclose(dirichlet_factor(concentrations), expected, rtol=1e-12)


def test_dirichlet_factor_of_a_common_concentration():
    for alpha in (1e-8, 0.2, 4.0, 1e6):
        np.testing.assert_allclose(dirichlet_factor(alpha, 2), covariance_factor(alpha), rtol=1e-14)
        np.testing.assert_allclose(dirichlet_factor(alpha, 5), dirichlet_factor([alpha] * 5), rtol=1e-14)
    assert dirichlet_factor(0.0, 4) == 1.0
    assert dirichlet_factor(np.inf, 4) == 0.25
    weights = DirichletWeights(0.4, 3).sample(np.random.default_rng(0), 40000)
    squares = np.sum(weights**2, axis=1)
    assert abs(squares.mean() - dirichlet_factor(0.4, 3)) < 6 * squares.std() / 200


def test_mean_derivation():
    for n in (2, 3, 4):
        result = derive_mean_preserved(n).verify().result
        values = X[:n, 0]
        symbols = sp.symbols(f"x1:{n + 1}", real=True)
        got = float(result.subs(dict(zip(symbols, values, strict=True))))
        np.testing.assert_allclose(got, values.mean(), rtol=1e-12)


def test_covariance_derivation_ends_in_the_shipped_functions():
    result = derive_covariance_factor().verify().result
    alpha, v = sp.symbols("alpha v", positive=True)
    c = sp.Symbol("c", real=True)
    for value in (0.05, 1.0, 3.7, 50.0):
        for rho in (-0.2, 0.0, 0.5):
            got = float(result.subs({alpha: value, v: 2, c: 2 * rho}))
            np.testing.assert_allclose(2 * covariance_factor(value, rho), got, rtol=1e-12)
            np.testing.assert_allclose(mixed_covariance([[2.0]], value, [[2 * rho]])[0, 0], got, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: covariance_factor(-1.0), "alpha"),
        (lambda: covariance_factor("1"), "alpha"),
        (lambda: covariance_factor(1.0, 1.5), "correlation"),
        (lambda: mixed_covariance(np.ones((2, 3)), 1.0), "covariance"),
        (lambda: mixed_covariance(np.eye(2), 1.0, np.eye(3)), "cross_covariance"),
        (lambda: mixed_covariance(np.eye(2) * np.nan, 1.0), "finite"),
        (lambda: loewner_gap([[1.0, 2.0], [0.0, 1.0]], np.eye(2)), "symmetric"),
        (lambda: dirichlet_factor([1.0]), "at least 2"),
        (lambda: dirichlet_factor([1.0, 0.0]), "alpha"),
        (lambda: dirichlet_factor([1.0, 1.0], 2), "one number"),
        (lambda: derive_mean_preserved(9), "`n`"),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()
