"""Adapters from the oracle records of theory C to the public functions."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from mixup_theory import gradient_noise, gradients, label_counterexamples, noise_crossover, pair_gradients


def number(text: Any) -> float:
    """Parse a decimal or a fraction exactly, then round once."""
    return float(Fraction(str(text)))


def array(nested: Any) -> np.ndarray:
    """Parse a nested list of decimals."""
    return np.array([array(v) for v in nested] if isinstance(nested, list) else number(nested))


def _counterexample(inputs: dict[str, Any]) -> list[float]:
    """Read the loss and its parameter from names such as gce_q0.7_inner."""
    loss = next(name for name in label_counterexamples.LOSSES if name in inputs["loss"])
    parameters = {"focal": "gamma", "gce": "q", "huber": "delta"}
    found = re.search(r"\d+(\.\d+)?", inputs["loss"].partition(loss)[2])
    options = {parameters[loss]: number(found.group())} if found and loss in parameters else {}
    points = (number(inputs[key]) for key in ("z", "yi", "yj", "lam"))
    return list(label_counterexamples.label_mixing_counterexample(loss, *points, **options))


def _pair(inputs: dict[str, Any]) -> tuple[Any, ...]:
    points = (array(inputs["xi"]), array(inputs["xj"]), number(inputs["yi"]), number(inputs["yj"]))
    return (*points, array(inputs["theta"]), number(inputs["a"]))


def _noise(**scheme: Any) -> Callable[[dict[str, Any]], float]:
    """Trace of the batch gradient covariance for one way to draw lam."""

    def trace(inputs: dict[str, Any]) -> float:
        coefficients = gradient_noise.fixed_point_free_coefficients(
            number(inputs["a"]), int(inputs["n"]), number(inputs["rho2"]), **scheme
        )
        return coefficients.trace(*(number(inputs[key]) for key in ("trC", "trD", "h_norm2")))

    return trace


ADAPTERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "label_mixing_counterexample": _counterexample,
    "pair_gradient_linear_regression": lambda i: [
        pair_gradients.pair_gradient_mean(*_pair(i)).tolist(),
        pair_gradients.pair_gradient_covariance(*_pair(i)).tolist(),
    ],
    "expected_mixup_gradient_linear_regression": lambda i: gradients.expected_mixup_gradient(
        array(i["X"]), array(i["y"]), array(i["theta"]), number(i["a"])
    ).tolist(),
    "pair_gradient_bias_logistic": lambda i: pair_gradients.pair_gradient_bias_logistic(*_pair(i)).tolist(),
    "hard_label_extra_gradient_variance": lambda i: gradients.hard_label_extra_variance(
        array(i["X"]), array(i["y"]), number(i["a"])
    ),
    "gradient_noise_batch_perbatch_lam": _noise(lam_per="batch"),
    "gradient_noise_batch_persample_lam": _noise(lam_per="sample"),
    "gradient_noise_batch_persample_max": _noise(lam_per="sample", lam_max=True),
    "gradient_noise_crossover_batch": lambda i: noise_crossover.gradient_noise_crossover(
        number(i["a"]), number(i["trC_over_h2"]), 1.0, rho2=number(i["rho2"])
    ),
    "logistic_theta0_noise_threshold": lambda i: noise_crossover.logistic_origin_threshold(number(i["a"])),
}
