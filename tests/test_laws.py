"""Laws of lam as objects: every derived moment against sampling-free quadrature, and the samplers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import beta as beta_law

from mixup_theory.laws import Beta, DirichletWeights, Fixed, LargerBeta, as_law
from mixup_theory.weights import expected_max_lam, var_max_lam


def check(law: object, density: object, low: float = 0.0) -> None:
    """Compare all derived quantities with direct integrals of the density."""

    def mean(g: object) -> float:
        return quad(lambda t: g(t) * density(t), low, 1, limit=400, epsabs=0, epsrel=1e-10)[0]

    q = lambda t: t**2 + (1 - t) ** 2  # noqa: E731
    expected = {
        "mean": mean(lambda t: t),
        "variance": mean(lambda t: t**2) - mean(lambda t: t) ** 2,
        "mean_p": mean(lambda t: t * (1 - t)),
        "mean_p_squared": mean(lambda t: (t * (1 - t)) ** 2),
        "shrink_factor": mean(q),
        "mean_q_squared": mean(lambda t: q(t) ** 2),
        "var_q": mean(lambda t: q(t) ** 2) - mean(q) ** 2,
    }
    for name, value in expected.items():
        assert getattr(law, name) == pytest.approx(value, rel=2e-6, abs=1e-9), name
    assert law.moment(4, 0) == pytest.approx(mean(lambda t: t**4), rel=1e-6)
    assert law.moment(3, 1) == pytest.approx(mean(lambda t: t**3 * (1 - t)), rel=1e-6)
    assert law.expect(lambda t: np.cos(2 * t)) == pytest.approx(mean(lambda t: np.cos(2 * t)), rel=1e-6)
    draws = law.sample(np.random.default_rng(0), 100_000)
    assert abs(draws.mean() - law.mean) < 6 * np.sqrt(law.variance / 100_000)


@pytest.mark.parametrize("alpha", [0.3, 1.0, 6.0])
def test_beta(alpha: float) -> None:
    check(Beta(alpha), lambda t: beta_law.pdf(t, alpha, alpha))


def test_beta_with_two_concentrations() -> None:
    check(Beta(0.8, 2.5), lambda t: beta_law.pdf(t, 0.8, 2.5))


@pytest.mark.parametrize("alpha", [0.3, 1.0, 6.0])
def test_larger(alpha: float) -> None:
    check(LargerBeta(alpha), lambda t: 2 * beta_law.pdf(t, alpha, alpha), low=0.5)
    assert LargerBeta(alpha).mean == pytest.approx(expected_max_lam(alpha), rel=1e-13)
    assert LargerBeta(alpha).moment(2) - LargerBeta(alpha).mean ** 2 == pytest.approx(var_max_lam(alpha), rel=1e-10)


def test_limits_of_the_larger_weight() -> None:
    law = LargerBeta(np.array([0.0, np.inf]))
    np.testing.assert_allclose(law.mean, [1, 0.5])
    np.testing.assert_allclose(law.moment(0, 2), [0, 0.25])


def test_fixed() -> None:
    law = Fixed(1.4)
    assert law.shrink_factor == pytest.approx(2.12, rel=1e-14)
    assert (law.variance, law.var_q) == (0.0, 0.0)
    assert law.expect(np.exp) == pytest.approx(np.exp(1.4))
    assert set(law.sample(np.random.default_rng(0), 3)) == {1.4}


@pytest.mark.parametrize(("alpha", "k"), [(0.0, 3), (1e-6, 2), (0.4, 3), (1.0, 4), (np.inf, 5)])
def test_dirichlet(alpha: float, k: int) -> None:
    law = DirichletWeights(alpha, k)
    w = law.sample(np.random.default_rng(5), 100_000)
    np.testing.assert_allclose(w.sum(axis=1), 1, rtol=1e-14)
    squares = (w**2).sum(axis=1)
    assert abs(squares.mean() - law.shrink_factor) < 6 * max(squares.std(), 1e-4) / np.sqrt(100_000)


def test_as_law() -> None:
    law = LargerBeta(1.0)
    assert as_law(law) is law
    assert as_law(0.4).alpha == 0.4
    with pytest.raises(ValueError, match="`alpha` must be"):
        as_law("0.4")
    with pytest.raises(ValueError, match="`num_mixed` must be a whole number >= 2, got 1"):
        DirichletWeights(1.0, 1)
