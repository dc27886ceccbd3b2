"""Adapters from the oracle records of section E (expansions) to the public functions."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from mixup_theory.expansion import carratino_terms, size_biased_terms, zhang_terms
from mixup_theory.logistic_risk import mixup_logistic_risk

__all__ = ["ADAPTERS"]


def number(text: str | int) -> float:
    """Parse a decimal or a fraction exactly, then round once."""
    return float(Fraction(text))


def arguments(inputs: dict) -> tuple:
    """Data, weights, alpha and intercept in the order that every function of the section takes."""
    x = [[number(entry) for entry in row] for row in inputs["X"]]
    theta = [number(entry) for entry in inputs["theta"]]
    return x, inputs["y"], theta, number(inputs["a"]), number(inputs["b"])


def zhang(inputs: dict) -> list[float]:
    terms = zhang_terms(*arguments(inputs)).terms
    return [terms["R1"], terms["R2"]]


def carratino(inputs: dict) -> list[float]:
    expansion = carratino_terms(*arguments(inputs))
    return [expansion.reference, expansion.terms["inputs"], expansion.terms["cross"]]


def size_biased(inputs: dict) -> list[float]:
    expansion = size_biased_terms(*arguments(inputs))
    return [expansion.reference, expansion.terms["inputs"]]


ADAPTERS: dict[str, Callable[[dict], Any]] = {
    "carratino_terms": carratino,
    "mixup_logistic_risk": lambda inputs: mixup_logistic_risk(*arguments(inputs)),
    "size_biased_terms": size_biased,
    "zhang_R1_R2": zhang,
}
