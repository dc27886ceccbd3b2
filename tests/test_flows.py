"""Annealed flows against an ODE solver, the printed 2F1 form in high precision, and the printed example."""

from __future__ import annotations

import itertools
import math

import mpmath
import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from mixup_theory.annealing import SCHEDULES, Schedule, integrated_shrink
from mixup_theory.flows import (
    ScalarRegression,
    annealed_flow_error,
    centred_flow_error,
    exponential_flow_tail,
    flow_limit,
)

PROBLEM = ScalarRegression(mean=1.2, variance=0.8, covariance=0.5, mean_label=2.0)
EXTRA = {"step": {"step": 6.0}, "off-at-epoch": {"step": 6}, "exponential": {"rate": 0.3}}


def make(kind: str, alpha0: float = 4.0, total: float = 10.0) -> Schedule:
    return Schedule(kind, alpha0, total, **EXTRA.get(kind, {}))


def solve(schedule: Schedule, t: float, problem: ScalarRegression, e0: float) -> float:
    """Integrate the flow piece by piece between whole times, so that no jump falls inside a step."""
    edges = np.unique(np.clip([*np.arange(0, 15), 0.6 * schedule.total, 0.9 * schedule.total, t], 0, t))
    value = np.array([e0])
    for lo, hi in itertools.pairwise(edges):

        def slope(tau: float, e: np.ndarray, hi: float = hi) -> np.ndarray:
            s = schedule.shrink(min(tau, hi - 1e-12))
            return -problem.rate(s) * e - (1 - s) * problem.pull

        value = solve_ivp(slope, (lo, hi), value, method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1]
    return float(value[0])


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("alpha0", [1e-3, 0.5, 40.0])
def test_flow_solves_its_differential_equation(kind, alpha0):
    schedule = make(kind, alpha0)
    for t in (8.7, 12.0):
        exact = annealed_flow_error(schedule, t, PROBLEM, 1.0)
        assert exact == pytest.approx(solve(schedule, t, PROBLEM, 1.0), rel=2e-8, abs=1e-11)


def test_printed_example():
    """Theory G.2 at t = 12."""
    expected = {"constant": 0.126347709, "linear": 3.31e-4, "cosine": 8.34e-5, "exponential": 0.0250312}
    for kind, value in expected.items():
        assert annealed_flow_error(make(kind), 12, PROBLEM, 1.0) == pytest.approx(value, rel=2e-3)
    assert annealed_flow_error(make("exponential"), 12, PROBLEM, 1.0) == pytest.approx(0.0250312, rel=2e-6)


def printed_exponential(a0: float, k: float, t: float, problem: ScalarRegression, e0: float) -> float:
    """The form of theory G.2 with G(y), in 60 digits."""
    with mpmath.workdps(60):
        a0, k, t, mu, v = map(mpmath.mpf, (a0, k, t, problem.mean, problem.variance))
        p, q, y = (mu**2 + v / 2) / k, v / (2 * k), mpmath.exp(k * t)
        slope = (mpmath.mpf(problem.covariance) + mu * problem.mean_label) / (v + mu**2)
        pull = problem.covariance - v * slope
        phi = mu**2 * t + v * (t / 2 + mpmath.log((y + 2 * a0) / (1 + 2 * a0)) / (2 * k))

        def g(z: mpmath.mpf) -> mpmath.mpf:
            return z**p / p * (2 * a0) ** (q - 1) * mpmath.hyp2f1(1 - q, p, p + 1, -z / (2 * a0))

        return float(mpmath.exp(-phi) * (e0 - pull * a0 / k * (1 + 2 * a0) ** -q * (g(y) - g(mpmath.mpf(1)))))


@pytest.mark.parametrize("rate", [0.02, 0.3, 1.1, 2.3, 2.24, 8.0, 40.0])
@pytest.mark.parametrize("alpha0", [1e-6, 0.3, 4.0, 1e4])
def test_exponential_flow_is_the_printed_hypergeometric_form(rate, alpha0):
    """Slow and steep decay, rate below, at and above h(1) = 2.24 (a resonance)."""
    for t in (0.05, 1.0, 7.0, 30.0):
        exact = printed_exponential(alpha0, rate, t, PROBLEM, 1.0)
        value = annealed_flow_error(Schedule("exponential", alpha0, 10, rate=rate), t, PROBLEM, 1.0)
        assert value == pytest.approx(exact, rel=1e-10, abs=1e-16)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_flow_at_the_limits_and_at_extremes(kind):
    times = np.array([0.0, 1e-6, 2.0, 9.5, 12.0])
    erm = np.exp(-PROBLEM.rate(1.0) * times)
    np.testing.assert_allclose(annealed_flow_error(make(kind, 0.0), times, PROBLEM, 1.0), erm, rtol=1e-12)
    tiny = np.asarray(annealed_flow_error(make(kind, 1e-8), times, PROBLEM, 1.0))
    assert np.all(np.abs(tiny - erm) < 1e-7)
    infinite = np.asarray(annealed_flow_error(make(kind, math.inf), times, PROBLEM, 1.0))
    assert np.all(np.isfinite(infinite))
    if kind != "exponential":
        huge = annealed_flow_error(make(kind, 1e12), times, PROBLEM, 1.0)
        np.testing.assert_allclose(huge, infinite, rtol=2e-5)
    else:
        half = annealed_flow_error(Schedule("constant", math.inf, 1), times, PROBLEM, 1.0)
        np.testing.assert_allclose(infinite, half, rtol=1e-12)
    assert annealed_flow_error(make(kind), times.reshape(5, 1), PROBLEM, 1.0).shape == (5, 1)
    assert isinstance(annealed_flow_error(make(kind), 3.0, PROBLEM, 1.0), float)


def test_first_order_in_small_alpha_keeps_its_digits():
    """The deviation from ERM at alpha0 = 1e-8 is the deviation at 1e-6, scaled, to 1e-5."""
    for kind in SCHEDULES:
        small, smaller = (annealed_flow_error(make(kind, a), 8.0, PROBLEM, 0.0) / a for a in (1e-6, 1e-8))
        assert small == pytest.approx(smaller, rel=1e-5)
        assert small != 0


def test_schedules_that_stop_return_to_erm_and_constant_alpha_does_not():
    for kind in ("linear", "cosine", "step", "off-at-epoch", "hesitation"):
        schedule = make(kind)
        first, second = (annealed_flow_error(schedule, t, PROBLEM, 1.0) for t in (11.0, 12.0))
        assert second / first == pytest.approx(math.exp(-PROBLEM.rate(1.0)), rel=1e-11)
    limit = flow_limit(4.0, PROBLEM)
    assert annealed_flow_error(make("constant"), 60.0, PROBLEM, 1.0) == pytest.approx(limit, rel=1e-13)
    late = annealed_flow_error(make("rising"), 60.0, PROBLEM, 1.0)
    assert late == pytest.approx(limit, rel=1e-12)
    s = np.array([1.0, 2 / 3, 0.5])
    expected = -(1 - s) * PROBLEM.pull / (s * 0.8 + 1.44)
    np.testing.assert_allclose(flow_limit([0.0, 1.0, math.inf], PROBLEM), expected, rtol=1e-14)


def test_exponential_tail_is_the_leading_term():
    schedule = make("exponential")
    errors = [
        abs(exponential_flow_tail(schedule, t, PROBLEM) / annealed_flow_error(schedule, t, PROBLEM, 1.0) - 1)
        for t in (20.0, 30.0)
    ]
    assert errors[1] / errors[0] == pytest.approx(math.exp(-0.3 * 10), rel=0.05)  # next order is alpha(t)
    with pytest.raises(ValueError, match="must have a rate < h"):
        exponential_flow_tail(Schedule("exponential", 1, 10, rate=2.5), 1.0, PROBLEM)
    with pytest.raises(ValueError, match="must be of kind 'exponential'"):
        exponential_flow_tail(make("linear"), 1.0, PROBLEM)


def test_centred_flow_is_a_matrix_exponential_of_the_clock():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(3, 3))
    covariance, start = root @ root.T, rng.normal(size=3)
    schedule = make("cosine")
    times = np.array([0.0, 0.7, 20.0])
    path = centred_flow_error(schedule, times, covariance, start)
    for t, error in zip(times, path, strict=True):
        exact = expm(-covariance * integrated_shrink(schedule, t)) @ start
        np.testing.assert_allclose(error, exact, rtol=1e-10, atol=1e-14)
    assert centred_flow_error(schedule, 1.0, covariance, start).shape == (3,)
    same_clock = centred_flow_error(Schedule("constant", 0, 1), integrated_shrink(schedule, 0.7), covariance, start)
    np.testing.assert_allclose(same_clock, path[1], rtol=1e-12)


def test_centred_scalar_flow_agrees_with_the_general_one():
    centred = ScalarRegression(mean=0.0, variance=0.8, covariance=0.5, mean_label=2.0)
    assert centred.pull == pytest.approx(0.0, abs=1e-16)
    for kind in SCHEDULES:
        general = annealed_flow_error(make(kind), 7.3, centred, 1.5)
        assert general == pytest.approx(centred_flow_error(make(kind), 7.3, [[0.8]], [1.5])[0], rel=1e-12)


def test_erm_slope_is_least_squares():
    rng = np.random.default_rng(1)
    x, y = rng.normal(1, 2, 50), rng.normal(0, 1, 50)
    problem = ScalarRegression(x.mean(), x.var(), np.cov(x, y, bias=True)[0, 1], y.mean())
    assert problem.erm_slope == pytest.approx(x @ y / (x @ x), rel=1e-12)


def test_derivation_is_proved_and_ends_at_the_shipped_function():
    from mixup_theory.annealing_derivations import derive_exponential_flow

    result = derive_exponential_flow().verify().result
    symbols = {str(symbol): symbol for symbol in result.free_symbols}
    assert set(symbols) == {"a", "k", "t", "v", "mu", "K", "e0"}
    for a, k, t in ((0.4, 0.3, 2.0), (4.0, 0.3, 12.0), (2.0, 1.7, 3.0)):
        values = {"a": a, "k": k, "t": t, "v": 0.8, "mu": 1.2, "K": PROBLEM.pull, "e0": -0.7}
        exact = result.subs({symbols[name]: sp.Float(value, 30) for name, value in values.items()})
        value = annealed_flow_error(Schedule("exponential", a, 10, rate=k), t, PROBLEM, -0.7)
        assert value == pytest.approx(float(exact.evalf(20)), rel=1e-11)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"variance": 0.0}, "`variance` must be a finite number > 0, got 0"),
        ({"variance": -1.0}, "`variance` must be a finite number > 0, got -1"),
        ({"mean": math.nan}, "`mean` must be"),
        ({"covariance": "x"}, "`covariance` must be"),
    ],
)
def test_bad_problems_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        ScalarRegression(**{"mean": 1.0, "variance": 1.0, "covariance": 1.0, "mean_label": 0.0, **fields})


def test_bad_flow_arguments_are_refused():
    with pytest.raises(ValueError, match="`t` must be"):
        annealed_flow_error(make("linear"), -1.0, PROBLEM, 1.0)
    with pytest.raises(ValueError, match="`initial_error` must be"):
        annealed_flow_error(make("linear"), 1.0, PROBLEM, math.nan)
    with pytest.raises(ValueError, match="`covariance` must be symmetric"):
        centred_flow_error(make("linear"), 1.0, [[1.0, 0.5], [0.0, 1.0]], [1.0, 1.0])
    with pytest.raises(ValueError, match="`covariance` must be symmetric with shape"):
        centred_flow_error(make("linear"), 1.0, [[1.0]], [1.0, 1.0])
    with pytest.raises(ValueError, match="positive semidefinite"):
        centred_flow_error(make("linear"), 1.0, [[-1.0]], [1.0])
    with pytest.raises(ValueError, match="`alpha` must be"):
        flow_limit(-1.0, PROBLEM)
