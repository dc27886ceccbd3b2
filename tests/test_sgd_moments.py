"""SGD moments against Gauss-Hermite enumeration of a step, simulation, and the printed numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy as sp

from mixup_theory.annealing import Schedule
from mixup_theory.quadrature import gauss_rule
from mixup_theory.sgd_moments import (
    sgd_moment_recursion,
    sgd_noise_ratio,
    sgd_simulation,
    sgd_stability_limit,
    sgd_stationary_mse,
)
from mixup_theory.weights import sample_lam

SETTING = {"variance": 1.5, "noise": 0.4, "learning_rate": 0.05}


def constant(alpha: float) -> Schedule:
    return Schedule("constant", alpha, 1)


def enumerate_step(alpha: float, error: float, variance: float, noise: float, learning_rate: float) -> tuple:
    """Exact E e' and E e'^2 of one step on one mixed pair: nodes over x_i, x_j, r_i, r_j and lam."""
    z, w = np.polynomial.hermite_e.hermegauss(4)  # exact to degree 7; the square has degree 4 in each
    w = w / w.sum()
    lam, weight = gauss_rule(6, alpha)
    li, xi, xj, ri, rj = np.meshgrid(lam, z, z, z, z, indexing="ij")
    x = math.sqrt(variance) * (li * xi + (1 - li) * xj)
    r = math.sqrt(noise) * (li * ri + (1 - li) * rj)
    after = error - learning_rate * x * (x * error - r)
    means = [np.einsum("a,b,c,d,e,abcde->", weight, w, w, w, w, after**power) for power in (1, 2)]
    return means[0], means[1]


@pytest.mark.parametrize("alpha", [0.0, 1e-3, 0.2, 1.0, 10.0, math.inf])
def test_one_step_is_the_enumeration(alpha):
    for error in (0.0, -0.3, 2.0):
        moments = sgd_moment_recursion(constant(alpha), 1, initial_error=error, **SETTING)
        first, second = enumerate_step(alpha, error, **SETTING)
        assert moments.mean[1] == pytest.approx(first, rel=1e-12, abs=1e-15)
        assert moments.second_moment[1] == pytest.approx(second, rel=1e-12)


def test_printed_early_and_late_variances():
    """Theory G.3: mixup starts noisier and, annealed, ends at ERM's variance."""
    run = {**SETTING, "initial_error": 2.0}
    mixup = sgd_moment_recursion(constant(1.0), 300, **run)
    erm = sgd_moment_recursion(constant(0.0), 300, **run)
    annealed = sgd_moment_recursion(Schedule("linear", 1.0, 200), 300, **run)
    assert mixup.variance[25] == pytest.approx(0.0562, abs=5e-5)
    assert erm.variance[25] == pytest.approx(0.0423, abs=5e-5)
    assert mixup.second_moment[-1] == pytest.approx(0.007598, abs=5e-7)
    assert annealed.second_moment[-1] == pytest.approx(0.011268, abs=5e-7)
    assert erm.second_moment[-1] == pytest.approx(0.011268, abs=5e-7)


@pytest.mark.parametrize("lam_per", ["sample", "batch"])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_simulation_agrees_within_six_standard_errors(lam_per, batch_size):
    rng = np.random.default_rng(7)
    runs, steps, alpha = 40_000, 12, 0.7
    e = np.full(runs, 1.0)
    for _ in range(steps):
        x, other = rng.normal(0, math.sqrt(1.5), (2, runs, batch_size))
        r, other_r = rng.normal(0, math.sqrt(0.4), (2, runs, batch_size))
        lam, rest = sample_lam(rng, (runs, batch_size if lam_per == "sample" else 1), alpha)
        x, r = lam * x + rest * other, lam * r + rest * other_r
        e = e - 0.2 * np.mean(x * (x * e[:, None] - r), axis=1)
    moments = sgd_moment_recursion(
        constant(alpha), steps, variance=1.5, noise=0.4, learning_rate=0.2, initial_error=1.0,
        batch_size=batch_size, lam_per=lam_per,
    )  # fmt: skip
    for measured, exact in ((e, moments.mean[-1]), (e**2, moments.second_moment[-1])):
        assert abs(measured.mean() - exact) < 6 * measured.std(ddof=1) / math.sqrt(runs)


@pytest.mark.parametrize(
    ("schedule", "batch_size", "lam_per"),
    [
        (constant(0.7), 1, "sample"),
        (constant(0.7), 4, "batch"),
        (Schedule("linear", 2.0, 12), 3, "sample"),
        (Schedule("hesitation", 0.7, 20), 2, "batch"),  # late steps are mixed with a probability
    ],
)
def test_shipped_simulation_has_the_moments_at_every_step(schedule, batch_size, lam_per):
    run = {"variance": 1.5, "noise": 0.4, "learning_rate": 0.2, "initial_error": 1.0}
    run |= {"batch_size": batch_size, "lam_per": lam_per}
    errors = sgd_simulation(schedule, 20, np.random.default_rng(8), num_runs=20_000, **run)
    moments = sgd_moment_recursion(schedule, 20, **run)
    assert errors.shape == (21, 20_000)
    assert np.all(errors[0] == 1.0)
    for measured, exact in ((errors[1:], moments.mean[1:]), (errors[1:] ** 2, moments.second_moment[1:])):
        spread = measured.std(axis=1, ddof=1) / math.sqrt(20_000)
        assert np.all(np.abs(measured.mean(axis=1) - exact) < 6 * spread)
        assert np.all(spread < 0.05 * np.maximum(np.abs(exact), 0.05))


@pytest.mark.parametrize("lam_per", ["sample", "batch"])
def test_mixing_with_a_probability_averages_the_steps(lam_per):
    """In the fading phase of "hesitation" a step is a mixup step with probability p, else an ERM step."""
    schedule = Schedule("hesitation", 0.7, 10)
    run = {**SETTING, "initial_error": 1.0, "batch_size": 3, "lam_per": lam_per}
    whole = sgd_moment_recursion(schedule, 10, **run)
    np.testing.assert_array_equal(whole.mean[:7], sgd_moment_recursion(constant(0.7), 6, **run).mean)
    fading = Schedule("hesitation", 0.7, 20)  # step 19 is mixed with probability 1/2
    start = sgd_moment_recursion(fading, 19, **run)
    parts = {}
    for alpha in (0.7, 0.0):
        s, q2 = (alpha + 1) / (2 * alpha + 1), (alpha**2 + 3 * alpha + 3) / ((2 * alpha + 1) * (2 * alpha + 3))
        quartic = q2 * (1 + 2 / 3) if lam_per == "batch" else q2 + s**2 * 2 / 3
        rate = 0.05 * 1.5
        parts[alpha] = (1 - 2 * rate * s + rate**2 * quartic) * start.second_moment[-1] + 0.05**2 * q2 * 0.6 / 3
    expected = (parts[0.7] + parts[0.0]) / 2
    assert sgd_moment_recursion(fading, 20, **run).second_moment[-1] == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("lam_per", ["sample", "batch"])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_stationary_value_is_the_fixed_point(lam_per, batch_size):
    form = {"batch_size": batch_size, "lam_per": lam_per}
    for alpha in (0.0, 0.2, 1.0, 10.0, math.inf):
        fixed = sgd_stationary_mse(alpha, **SETTING, **form)
        start = {"initial_error": math.sqrt(fixed), **SETTING, **form}
        assert sgd_moment_recursion(constant(alpha), 1, **start).second_moment[1] == pytest.approx(fixed, rel=1e-14)
        late = sgd_moment_recursion(constant(alpha), 2000, **{**start, "initial_error": 2.0})
        assert late.second_moment[-1] == pytest.approx(fixed, rel=1e-10)


@pytest.mark.parametrize("lam_per", ["sample", "batch"])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_stability_limit_separates_growth_from_decay(lam_per, batch_size):
    form = {"batch_size": batch_size, "lam_per": lam_per}
    limit = sgd_stability_limit(1.0, variance=1.5, **form)
    for factor, grows in ((0.999, False), (1.001, True)):
        run = {"variance": 1.5, "noise": 0.0, "learning_rate": factor * limit, "initial_error": 1.0, **form}
        assert bool(sgd_moment_recursion(constant(1.0), 50, **run).second_moment[-1] > 1) is grows
    with pytest.raises(ValueError, match="`learning_rate` must be below the stability limit"):
        sgd_stationary_mse(1.0, variance=1.5, noise=0.4, learning_rate=1.001 * limit, **form)


def test_noise_ratio_is_the_small_step_limit_and_has_no_matched_advantage():
    for alpha, equal, matched in ((0.2, 0.892, 1.041), (1.0, 0.7, 1.05), (10.0, 0.526, 1.004)):
        assert sgd_noise_ratio(alpha) == pytest.approx(equal, abs=5e-4)
        assert sgd_noise_ratio(alpha, matched_contraction=True) == pytest.approx(matched, abs=5e-4)
    alphas = np.array([0.0, 1e-8, 0.3, 4.0, 1e6, math.inf])
    small = {"variance": 1.5, "noise": 0.4, "learning_rate": 1e-9}
    ratios = sgd_stationary_mse(alphas, **small) / sgd_stationary_mse(0.0, **small)
    np.testing.assert_allclose(sgd_noise_ratio(alphas), ratios, rtol=1e-7)
    s = (alphas[1:5] + 1) / (2 * alphas[1:5] + 1)
    raised = sgd_stationary_mse(alphas[1:5], variance=1.5, noise=0.4, learning_rate=1e-9 / s)
    expected = np.asarray(sgd_noise_ratio(alphas[1:5], matched_contraction=True))
    np.testing.assert_allclose(raised / sgd_stationary_mse(0.0, **small), expected, rtol=1e-7)
    gains = sgd_stability_limit(alphas, variance=1.0) / sgd_stability_limit(0.0, variance=1.0)
    np.testing.assert_allclose(gains, 1 / np.asarray(sgd_noise_ratio(alphas)), rtol=1e-14)


def test_derivation_is_proved_and_ends_at_the_shipped_function():
    from mixup_theory.annealing_derivations import derive_sgd_stationary_mse

    result = derive_sgd_stationary_mse().verify().result
    symbols = sp.symbols("alpha eta sigma tau", positive=True)
    for alpha, eta, sigma2, tau2 in ((0.2, 0.05, 1.5, 0.4), (3.0, 0.3, 0.7, 2.0)):
        values = (alpha, eta, math.sqrt(sigma2), math.sqrt(tau2))
        exact = float(result.subs(dict(zip(symbols, values, strict=True))))
        shipped = sgd_stationary_mse(alpha, variance=sigma2, noise=tau2, learning_rate=eta)
        assert shipped == pytest.approx(exact, rel=1e-13)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variance": 0.0}, "`variance` must be"),
        ({"noise": -0.1}, "`noise` must be"),
        ({"learning_rate": 0.0}, "`learning_rate` must be"),
        ({"initial_error": math.nan}, "`initial_error` must be"),
        ({"batch_size": 0}, "`batch_size` must be a whole number >= 1"),
        ({"lam_per": "pair"}, "`lam_per` must be one of sample, batch"),
        ({"num_steps": -1}, "`num_steps` must be a whole number >= 0"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {**SETTING, "num_steps": 3, "initial_error": 1.0, **change}
    with pytest.raises(ValueError, match=message):
        sgd_moment_recursion(constant(1.0), **arguments)


def test_bad_alpha_is_refused():
    for function in (sgd_noise_ratio, lambda a: sgd_stationary_mse(a, **SETTING)):
        with pytest.raises(ValueError, match="`alpha` must be"):
            function(-1.0)
