"""Adapters from the oracle records of section G (annealing) to the public functions."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from mixup_theory.annealing import Schedule, integrated_shrink
from mixup_theory.flows import ScalarRegression, annealed_flow_error
from mixup_theory.sgd_moments import sgd_moment_recursion, sgd_stationary_mse

__all__ = ["ADAPTERS"]


def number(text: str | int) -> float:
    """Parse a decimal or a fraction exactly, then round once."""
    return float(Fraction(text))


def schedule(inputs: dict) -> Schedule:
    """Build the schedule; a constant one needs no length, so 1 stands in."""
    extra = {name: number(inputs[key]) for name, key in (("step", "t1"), ("rate", "k")) if key in inputs}
    total = number(inputs.get("T", inputs.get("K", 1)))
    return Schedule(inputs["schedule"], number(inputs["a0"]), total, **extra)


def shrink(inputs: dict) -> float:
    return integrated_shrink(schedule(inputs), number(inputs["t"]))


def flow(inputs: dict) -> float:
    moments = (number(inputs[key]) for key in ("mu", "v", "c", "ybar"))
    problem = ScalarRegression(*moments)
    return annealed_flow_error(schedule(inputs), number(inputs["t"]), problem, number(inputs["e0"]))


def recursion(inputs: dict) -> list[float]:
    moments = sgd_moment_recursion(
        schedule(inputs),
        inputs["steps"],
        variance=number(inputs["sigma2"]),
        noise=number(inputs["tau2"]),
        learning_rate=number(inputs["eta"]),
        initial_error=number(inputs["e0"]),
    )
    return [float(moments.mean[-1]), float(moments.second_moment[-1])]


def stationary(inputs: dict) -> float:
    return sgd_stationary_mse(
        number(inputs["a"]),
        variance=number(inputs["sigma2"]),
        noise=number(inputs["tau2"]),
        learning_rate=number(inputs["eta"]),
        batch_size=inputs["batch"],
    )


ADAPTERS: dict[str, Callable[[dict], Any]] = {
    "annealed_flow_error": flow,
    "integrated_shrink": shrink,
    "sgd_moment_recursion": recursion,
    "sgd_stationary_mse": stationary,
}
