"""Schedules against their printed formulas, and the integrated shrinkage against adaptive quadrature."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pydantic
import pytest
from scipy.integrate import quad

from mixup_theory.annealing import SCHEDULES, Schedule, equivalent_alpha, integrated_shrink
from mixup_theory.weights import shrink_factor

EXTRA = {"step": {"step": 6.0}, "off-at-epoch": {"step": 6}, "exponential": {"rate": 0.3}}


def make(kind: str, alpha0: float = 1.0, total: float = 10.0) -> Schedule:
    return Schedule(kind, alpha0, total, **EXTRA.get(kind, {}))


def knots(schedule: Schedule, t: float) -> list[float]:
    inner = {0.0, t, schedule.total, *np.arange(math.ceil(t)).tolist()}
    inner |= {0.6 * schedule.total, 0.9 * schedule.total}
    return sorted(k for k in inner if k <= t)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("constant", [2, 2, 2, 2, 2]),
        ("linear", [2, 1.5, 1, 0, 0]),
        ("rising", [0, 0.5, 1, 2, 2]),
        ("cosine", [2, 1 + math.cos(math.pi / 4), 1, 0, 0]),
        ("exponential", [2, 2 * math.exp(-0.75), 2 * math.exp(-1.5), 2 * math.exp(-3), 2 * math.exp(-6)]),
        ("step", [2, 2, 2, 0, 0]),
        ("off-at-epoch", [2, 2, 2, 0, 0]),
        ("hesitation", [2, 2, 2, 2, 2]),
    ],
)
def test_alpha_follows_its_formula(kind, expected):
    times = np.array([0, 2.5, 5, 10, 20])
    np.testing.assert_allclose(make(kind, 2.0).alpha(times), expected, rtol=1e-14, atol=1e-15)
    assert make(kind, 2.0).alpha(2.5) == pytest.approx(expected[1], rel=1e-14)
    assert make(kind, 2.0).alpha(np.zeros((2, 3))).shape == (2, 3)


def test_every_alpha0_limit_is_a_limit_at_every_time():
    times = np.array([0, 1, 6, 9.9, 10, 3000])
    for kind in SCHEDULES:
        assert np.all(np.asarray(make(kind, 0.0).alpha(times)) == 0)
        infinite = np.asarray(make(kind, math.inf).alpha(times))
        assert not np.any(np.isnan(infinite))
        assert np.all(np.isinf(infinite) | (infinite == 0))
        np.testing.assert_array_equal(infinite > 0, np.asarray(make(kind, 1e6).alpha(times)) > 0)


def test_hesitation_is_the_published_rule():
    """Per epoch: always, even epochs, probability (T - e) / (T / 10); Yu et al. with T = 100."""
    for total in (100, 50, 20, 15, 7):
        schedule, epochs = Schedule("hesitation", 0.5, total), np.arange(total + 3)
        expected = [
            1.0 if 10 * e < 6 * total else float(e % 2 == 0) if 10 * e < 9 * total else 10 * (total - e) / total
            for e in range(total)
        ] + [0.0] * 3
        np.testing.assert_allclose(schedule.probability(epochs), expected, rtol=1e-13)


def test_probability_of_the_others():
    times = np.array([0, 5.9, 6, 50])
    np.testing.assert_array_equal(make("off-at-epoch").probability(times), [1, 1, 0, 0])
    for kind in set(SCHEDULES) - {"off-at-epoch", "hesitation"}:
        np.testing.assert_array_equal(make(kind).probability(times), 1)
    assert make("step").probability(3) == 1.0


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("alpha0", [1e-8, 0.2, 8.0, 1e3])
def test_integrated_shrink_is_the_integral(kind, alpha0):
    for total in (10.0, 13.0):
        schedule = make(kind, alpha0, total)
        for t in (0.0, 0.37, 4.2, 6.5, 8.5, 9.6, 10.0, 14.0):
            edges = knots(schedule, t)
            integral = sum(
                quad(schedule.shrink, lo, hi, epsabs=1e-13, epsrel=1e-12, limit=300)[0]
                for lo, hi in itertools.pairwise(edges)
            )
            assert integrated_shrink(schedule, t) == pytest.approx(integral, rel=2e-11, abs=1e-15)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_integrated_shrink_at_the_limits_and_at_extremes(kind):
    times = np.array([0.0, 1e-9, 3.0, 6.0, 9.5, 10.0, 40.0, 5000.0])
    np.testing.assert_array_equal(integrated_shrink(make(kind, 0.0), times), times)
    near_zero = integrated_shrink(make(kind, 1e-8), times)
    np.testing.assert_allclose(near_zero, times, rtol=3e-8)
    infinite = integrated_shrink(make(kind, math.inf), times)
    assert np.all(np.isfinite(infinite))
    if kind == "exponential":  # alpha0 exp(-kt) falls for every finite alpha0; only the limit stays at 1/2
        np.testing.assert_allclose(infinite, times / 2, rtol=1e-15)
        times = times[:-2]
        infinite = infinite[:-2]
    np.testing.assert_allclose(integrated_shrink(make(kind, 1e14), times), infinite, rtol=2e-6, atol=1e-12)
    grid = integrated_shrink(make(kind, 2.0), times)
    assert np.all((grid >= times / 2) & (grid <= times))
    assert isinstance(integrated_shrink(make(kind), 3.0), float)
    np.testing.assert_array_equal(
        integrated_shrink(make(kind), times), [integrated_shrink(make(kind), t) for t in times]
    )


def test_mean_shrink_has_the_printed_forms():
    for a in (0.3, 1.0, 8.0):
        assert make("constant", a).mean_shrink == pytest.approx(shrink_factor(a), rel=1e-14)
        assert make("linear", a).mean_shrink == pytest.approx(0.5 + math.log1p(2 * a) / (4 * a), rel=1e-14)
        assert make("rising", a).mean_shrink == pytest.approx(make("linear", a).mean_shrink, rel=1e-14)
        assert make("cosine", a).mean_shrink == pytest.approx(0.5 + 0.5 / math.sqrt(1 + 2 * a), rel=1e-14)
        hesitation = Schedule("hesitation", a, 100).mean_shrink
        assert hesitation == pytest.approx(1 - 0.8 * (1 - shrink_factor(a)), rel=1e-14)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_mean_alpha_is_the_mean_of_probability_times_alpha(kind):
    schedule = make(kind, 3.0)
    edges = knots(schedule, schedule.total)
    mass = sum(
        quad(lambda t: schedule.alpha(t) * schedule.probability(t), lo, hi, epsabs=1e-12)[0]
        for lo, hi in itertools.pairwise(edges)
    )
    assert schedule.mean_alpha == pytest.approx(mass / schedule.total, rel=1e-10)
    assert make(kind, 0.0).mean_alpha == 0


@pytest.mark.parametrize("kind", SCHEDULES)
def test_equivalent_alpha_has_the_same_mean_shrink(kind):
    schedule = make(kind, 3.0)
    assert shrink_factor(equivalent_alpha(schedule)) == pytest.approx(schedule.mean_shrink, rel=1e-13)
    assert equivalent_alpha(make(kind, 0.0)) == 0
    assert 0 < equivalent_alpha(schedule) <= 3.0 * (1 + 1e-12)
    assert equivalent_alpha(make("constant", math.inf)) == math.inf


def test_a_schedule_is_a_value():
    assert Schedule("step", 1, 10, step=5) == Schedule("step", 1.0, 10.0, step=5.0)
    assert hash(Schedule("step", 1, 10, step=5)) == hash(Schedule("step", 1.0, 10.0, step=5.0))
    assert dataclasses.replace(make("linear"), alpha0=2).alpha0 == 2.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        make("linear").alpha0 = 2.0  # type: ignore[misc]


def test_a_schedule_is_a_pydantic_field():
    class Config(pydantic.BaseModel, frozen=True, extra="forbid"):
        schedule: Schedule

    config = Config(schedule={"kind": "step", "alpha0": 1, "total": 10, "step": 4})
    assert config.schedule == Schedule("step", 1.0, 10.0, step=4.0)
    assert Config.model_validate_json(config.model_dump_json()) == config
    assert hash(config) == hash(Config(schedule=Schedule("step", 1, 10, step=4)))
    for bad in ({"total": -10}, {"step": 11}, {"rate": 0.1}, {"kind": "bogus"}, {"surprise": 1}):
        with pytest.raises(pydantic.ValidationError):
            Config(schedule={"kind": "step", "alpha0": 1, "total": 10, "step": 4, **bad})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "triangle"}, "`kind` must be one of constant"),
        ({"kind": 3}, "`kind` must be one of"),
        ({"alpha0": -1.0}, "`alpha0` must be a number >= 0"),
        ({"alpha0": math.nan}, "`alpha0` must be"),
        ({"alpha0": "1"}, "`alpha0` must be"),
        ({"alpha0": [1.0, 2.0]}, "`alpha0` must be one number"),
        ({"total": -5.0}, "`total` must be a finite number > 0, got -5"),
        ({"total": 0.0}, "`total` must be a finite number > 0, got 0"),
        ({"total": math.inf}, "`total` must be a finite number > 0"),
        ({"step": 3.0}, "`step` must be None for a schedule of kind 'linear'"),
        ({"rate": 3.0}, "`rate` must be None for a schedule of kind 'linear'"),
        ({"kind": "step"}, "`step` must be a number for a schedule of kind 'step', got None"),
        ({"kind": "step", "step": -1.0}, "`step` must be a finite number >= 0, got -1"),
        ({"kind": "step", "step": 10.5}, "`step` must be <= total = 10, got 10.5"),
        ({"kind": "off-at-epoch", "step": 2.5}, "`step` must be a whole epoch"),
        ({"kind": "exponential"}, "`rate` must be a number"),
        ({"kind": "exponential", "rate": 0.0}, "`rate` must be a finite number > 0, got 0"),
    ],
)
def test_bad_schedules_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**{"kind": "linear", "alpha0": 1.0, "total": 10.0, **fields})


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf, "1", [1.0, -2.0], None])
def test_bad_times_are_refused(bad):
    for function in (make("linear").alpha, make("linear").probability, make("linear").shrink):
        with pytest.raises(ValueError, match="`t` must be"):
            function(bad)
    with pytest.raises(ValueError, match="`t` must be"):
        integrated_shrink(make("linear"), bad)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_derivations_are_proved_and_end_at_the_shipped_function(kind):
    from mixup_theory.annealing_derivations import derive_integrated_shrink

    result = derive_integrated_shrink(kind).verify().result
    for alpha0, t, total in ((0.3, 2.0, 10.0), (5.0, 9.5, 10.0)):
        schedule, time = make(kind, alpha0, total), t
        values = {"a": alpha0, "T": total, "t": t, "k": 0.3, "t1": 6.0, "v": total - t}
        values["W"] = math.tan(math.pi * t / (2 * total))
        if kind in {"step", "off-at-epoch", "hesitation"}:  # their closed forms start after the change
            time = values["t"] = max(t, 8.0)
        if kind == "hesitation":  # a whole run whose middle third has as many even as odd epochs
            schedule = make(kind, alpha0, 20.0)
            time = values["T"] = 20.0
        exact = float(result.subs({symbol: values[str(symbol)] for symbol in result.free_symbols}))
        assert integrated_shrink(schedule, time) == pytest.approx(exact, rel=1e-13)
    with pytest.raises(ValueError, match="`kind` must be one of"):
        derive_integrated_shrink("triangle")
