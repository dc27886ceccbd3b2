"""Adapters from the oracle records of theory A to the public functions."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from mixup_theory import moments, weights
from mixup_theory.logistic_risk import mixup_risk
from mixup_theory.quadrature import gauss_rule


def number(text: str) -> float:
    """Parse a decimal or a fraction exactly, then round once."""
    return float(Fraction(text))


def _beta_trick(inputs: dict[str, Any]) -> float:
    """Mixup risk of a non-linear logit, averaged over all ordered pairs."""
    x = np.array([number(v) for v in inputs["x"]])
    return mixup_risk(lambda z: 1.7 * np.tanh(0.8 * z - 0.3) + 0.4 * z**2, x, inputs["y"], number(inputs["a"]))


ADAPTERS = {
    "mixup_logistic_risk_beta_trick": _beta_trick,
    "lam_moment": lambda i: weights.lam_moment(int(i["k"]), int(i["m"]), number(i["a"])),
    "shrink_factor": lambda i: weights.shrink_factor(number(i["a"])),
    "expected_max_lam": lambda i: weights.expected_max_lam(number(i["a"])),
    "lam_cos_transform": lambda i: weights.cosine_transform(number(i["a"]), number(i["omega"])),
    "gauss_rule": lambda i: [v.tolist() for v in gauss_rule(int(i["n"]), number(i["a"]))],
    "var_max_lam": lambda i: weights.var_max_lam(number(i["a"])),
    "var_q": lambda i: moments.var_q(number(i["a"])),
}
