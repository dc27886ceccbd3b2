"""Adapters from the oracle records of theory F (except the circles of F.9) to the public functions."""

from __future__ import annotations

from typing import Any

import numpy as np
from oracles_a import number

from mixup_theory import alternating_line, averaging_classifier, floors, intrusion, least_squares, weights
from mixup_theory.gaussian_mixture import gmm_logit_scale
from mixup_theory.line_floor import line_cross_entropy_floor
from mixup_theory.mixture_posterior import gmm_posterior
from mixup_theory.two_points import two_point_logistic_slope

SCHEMES = {"iid": "independent", "with_replacement": "independent"}  # their names for ours, where they differ


def _regression(inputs: dict[str, Any]) -> tuple[list, list, float]:
    x = [[number(v) for v in row] for row in inputs["X"]]
    return x, [number(v) for v in inputs["y"]], number(inputs["a"])


def _line(inputs: dict[str, Any]) -> dict[str, Any]:
    return {key: [number(v) for v in inputs[key]] for key in ("points", "labels")}


def _two_points(inputs: dict[str, Any]) -> float:
    assert [number(v) for v in inputs["x"]] == [-1.0, 1.0]
    assert inputs["y"] == [0, 1]
    return two_point_logistic_slope(number(inputs["a"]))


def _window(inputs: dict[str, Any]) -> float:
    return alternating_line.line_window_label(
        number(inputs["x"]),
        number(inputs["eps"]),
        number(inputs["a"]),
        **_line(inputs),
        self_pairs=inputs["include_self_pairs"],
    )


def _collinear(inputs: dict[str, Any]) -> float:
    assert inputs["region"] == "|x|<m/2"
    return intrusion.collinear_intrusion(number(inputs["a"]), number(inputs["sigma"]), number(inputs["m"]))


def _balanced(function: Any) -> Any:
    return lambda i: function(number(i["a"]), np.ones(int(i["K"])), SCHEMES.get(i["pairs"], i["pairs"]))


ADAPTERS = {
    "expected_binary_entropy": lambda i: weights.expected_binary_entropy(number(i["a"])),
    "mixup_ols_no_intercept": lambda i: least_squares.mixup_ols_no_intercept(*_regression(i)).slope.tolist(),
    "mixup_ridge": lambda i: least_squares.mixup_ridge(*_regression(i), number(i["kappa"])).slope.tolist(),
    "input_only_mixup_slope_factor": lambda i: least_squares.slope_factor(
        number(i["a"]), "first", lam_max=i["lam"] == "max"
    ),
    "two_point_logistic_theta": _two_points,
    "gmm_mixup_logit_scale": lambda i: gmm_logit_scale(number(i["a"]), number(i["mahalanobis"])),
    "gmm_mixup_bayes_posterior": lambda i: gmm_posterior(
        number(i["x"]), number(i["a"]), number(i["m"]), number(i["sigma2"])
    ),
    "ce_floor_balanced": _balanced(floors.expected_label_entropy),
    "mean_max_label": _balanced(floors.mean_max_label),
    "ce_floor_counts": lambda i: floors.expected_label_entropy(
        number(i["a"]), i["counts"], SCHEMES.get(i["scheme"], i["scheme"])
    ),
    "alternating_line_gstar": lambda i: alternating_line.line_label(number(i["x"]), number(i["a"]), **_line(i)),
    "alternating_line_geps": _window,
    "alternating_line_critical_a": lambda i: alternating_line.line_critical_alpha(
        number(i["eps"]), **_line(i), x=number(i["x"])
    ),
    "collinear_intrusion_probability": _collinear,
    "ambiguous_lambda_mass": lambda i: intrusion.ambiguous_lam_mass(number(i["a"]), number(i["eta"])),
    "ce_floor_alternating_line": lambda i: line_cross_entropy_floor(
        number(i["a"]), **_line(i), self_pairs=i["include_self_pairs"]
    ),
    "calibrating_alpha": lambda i: averaging_classifier.calibrating_alpha(number(i["rho"])),
    "averaging_classifier_ece": lambda i: averaging_classifier.averaging_ece(
        number(i["a"]), number(i["norm2"]), number(i["sigma"]), number(i["p_over_n"])
    ),
    "self_circle_radius_moment": lambda i: intrusion.sphere_radius_moment(number(i["a"]), int(i["k"])),
    "circle_intrusion_probability": lambda i: intrusion.sphere_intrusion(
        number(i["a"]), number(i["r1"]), number(i["delta"]), number(i["r2"])
    ),
}
