"""Adapters from the oracle records of theory D to the public functions."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import numpy as np

from mixup_theory import chord, cross_entropy
from mixup_theory.penalty import decompose, squared_penalty
from mixup_theory.segments import kinks, segment_paths

Inputs = dict[str, Any]


def number(text: Any) -> float:
    """Parse a decimal or a fraction exactly, then round once."""
    return float(Fraction(text))


def array(nested: list) -> np.ndarray:
    """Parse a nested list of decimals."""
    return np.array([array(v) if isinstance(v, list) else number(v) for v in nested], dtype=float)


def _relu_of_line(model: str) -> list:
    """Read `f(x)=A*relu(wx+b)+c`, in which all but relu and x may be left out, as layers."""
    pattern = r"f\(x\)=(?:([-\d./]+)\*)?relu\(([-\d./]*)\*?x([+-][\d./]+)?\)([+-][\d./]+)?"
    match = re.fullmatch(pattern, model.replace(" ", ""))
    assert match, f"cannot read the model {model!r}"
    outer, weight, bias, shift = match.groups()
    weight = {"": "1", "-": "-1"}.get(weight, weight)
    return [
        ([[number(weight)]], [number(bias or 0)]),
        ([[number(outer or 1)]], [number(shift or 0)]),
    ]


def _network(inputs: Inputs) -> list:
    if "model" in inputs:
        return _relu_of_line(inputs["model"])
    return [(array(w), array(b)) for w, b in zip(inputs["W"], inputs["b"], strict=True)]


def _ends(inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
    xi, xj = (array(inputs[x]) if isinstance(inputs[x], list) else number(inputs[x]) for x in ("xi", "xj"))
    return np.atleast_2d(xi), np.atleast_2d(xj)


def _penalty(inputs: Inputs) -> float:
    labels = number(inputs["yi"]), number(inputs["yj"])
    return squared_penalty(_network(inputs), *_ends(inputs), *labels, number(inputs["a"])).item()


def _decomposition(inputs: Inputs) -> list[float]:
    paths = segment_paths(_network(inputs), *_ends(inputs))
    parts = decompose(paths, number(inputs["yi"]), number(inputs["yj"]), number(inputs["a"]))
    return [parts.endpoint_fit.item(), parts.cross.item(), parts.chord_deviation.item()]


def _breakpoints(inputs: Inputs) -> list[float]:
    return kinks(segment_paths(_network(inputs), *_ends(inputs)))[0].tolist()


def _linear_logit(inputs: Inputs) -> float:
    values = (number(inputs[name]) for name in ("zi", "zj", "yi", "yj", "a"))
    return cross_entropy.linear_logit_cross_entropy(*values)


ADAPTERS = {
    "relu_segment_penalty": _penalty,
    "penalty_decomposition": _decomposition,
    "relu_mlp_segment_penalty": _penalty,
    "relu_mlp_breakpoints": _breakpoints,
    "sine_chord_penalty": lambda i: chord.sine_chord_deviation(number(i["A"]), int(i["k"]), number(i["a"])),
    "quadratic_chord_penalty": lambda i: chord.quadratic_chord_deviation(
        number(i["second_derivative"]), number(i["a"])
    ),
    "population_quadratic_penalty": lambda i: chord.population_quadratic_deviation(
        array(i["H"]), array(i["Sigma"]), number(i["a"])
    ),
    "ce_segment_linear_logit": _linear_logit,
    "best_linear_logit_cross_segment": lambda i: list(cross_entropy.best_linear_logit(number(i["a"]))),
}
