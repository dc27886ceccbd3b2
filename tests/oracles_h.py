"""Adapters from the oracle records of theory F.9 (circles) to the public functions."""

from __future__ import annotations

from oracles_a import number

from mixup_theory.circles import noisy_circle_predictor
from mixup_theory.circles_noise_free import critical_alpha, noise_free_circle_predictor, noise_free_decision_radius

ADAPTERS = {
    "circles_gstar_noisefree": lambda i: list(
        noise_free_circle_predictor(number(i["R"]), number(i["r1"]), number(i["r2"]), number(i["a"]))
    ),
    "circles_decision_radius_noisefree": lambda i: noise_free_decision_radius(
        number(i["r1"]), number(i["r2"]), number(i["a"])
    ),
    "circles_gstar_noisy": lambda i: list(
        noisy_circle_predictor(number(i["r"]), number(i["r1"]), number(i["r2"]), number(i["sigma"]), number(i["a"]))
    ),
    "circles_critical_a_noisefree": lambda i: critical_alpha(number(i["r1"]), number(i["r2"])),
}
