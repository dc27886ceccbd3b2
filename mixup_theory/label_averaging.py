r"""When the labels may be averaged: the numerical test for any torch loss, and the Jensen gap that is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray
from scipy.special import rel_entr

from ._checks import as_result, check_array, check_choice, check_integer, check_interval, check_positive
from .derivation import Derivation, Step

if TYPE_CHECKING:
    import torch

__all__ = [
    "LABELS",
    "Gap",
    "LabelAverageTest",
    "derive_gradient_commutes",
    "derive_jensen_gap",
    "label_average_test",
    "label_jensen_gap",
]

LABELS = ("one_hot", "index", "simplex", "binary", "sign", "real")

DrawLabels = Callable[[np.random.Generator, int, int], NDArray]


@dataclass(frozen=True)
class Gap:
    """The largest gap found and where it is.

    Attributes:
        size: Largest absolute difference between the mix and the value at the mixed label (over the entries of
            the gradient, for a gradient).
        relative: `size` over the largest of the terms compared, at any point visited.
        logits: Logits of the batch with this gap, shape [batch, num_outputs].
        y_i: First labels of that batch.
        y_j: Second labels of that batch.
        lam: Weight of the first labels.
        mix: Mix of the two losses (or gradients) there.
        at_mix: Loss (or gradient) at the mixed label there.
    """

    size: float
    relative: float
    logits: NDArray[np.float64]
    y_i: NDArray
    y_j: NDArray
    lam: float
    mix: Any
    at_mix: Any


@dataclass(frozen=True)
class LabelAverageTest:
    """Answer to the question whether a loss lets labels be averaged.

    Attributes:
        gradient_commutes: Mixing gradients equals the gradient at the mixed label, at every point visited.
        loss_commutes: Mixing losses equals the loss of the mixed label, at every point visited.
        gradient_gap: The largest gap between gradients.
        loss_gap: The largest gap between losses. Where the gradients commute it does not depend on the logits.
        tolerance: Relative gap that still counts as equal.
    """

    gradient_commutes: bool
    loss_commutes: bool
    gradient_gap: Gap
    loss_gap: Gap
    tolerance: float


def label_average_test(
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    rng: np.random.Generator,
    *,
    labels: str | DrawLabels = "one_hot",
    num_outputs: int = 3,
    batch_size: int = 4,
    num_points: int = 200,
    scale: float = 2.0,
    tolerance: float | None = None,
    dtype: str = "float64",
) -> LabelAverageTest:
    r"""Test numerically whether a loss lets labels be averaged, for gradients and for losses.

    Compares, at random logits z, label pairs and weights,
    :math:`\lambda\nabla\ell(z,y_i)+(1-\lambda)\nabla\ell(z,y_j)` with :math:`\nabla\ell(z,\tilde y)`, and the
    losses likewise. The gradients agree for every law of the label if and only if
    :math:`\ell(z,y)=h(z)+\langle g(z),y\rangle+c(y)`, and two-point laws decide it; the losses agree if and only
    if c is affine too. A `False` is a counterexample, returned with it; a `True` is evidence at the points visited.

    Args:
        loss: `loss(logits, target)`, differentiable in the logits, reduced over the batch or not (it is summed).
        rng: Source of the points.
        labels: What the labels are: `one_hot` rows; `index` (the pure labels are passed as class numbers, the
            mixed one as probabilities: how loss mixing and label mixing differ in code); `simplex` (probability
            rows); `binary` (0 or 1 each); `sign` (-1 or 1 each); `real` (normal); or a function of
            (rng, batch_size, num_outputs) that returns labels.
        num_outputs: Number of logits per example, >= 1; >= 2 for labels that are classes.
        batch_size: Examples per call of `loss`, >= 1; more than one shows losses normalised over the batch.
        num_points: Number of batches visited, >= 1.
        scale: Standard deviation of the logits (and of `real` labels), > 0.
        tolerance: Relative gap that counts as equal, > 0; by default the square root of the machine epsilon.
        dtype: Precision, `float64` or `float32` (for losses that hold float32 tensors).

    Returns:
        Both verdicts, the sizes of both gaps, and where they are largest.

    Raises:
        ValueError: If an argument is out of range, or the loss is not finite or not differentiable.

    References:
        theory C.1.

    Example:
        >>> import torch.nn.functional as F
        >>> result = label_average_test(F.mse_loss, np.random.default_rng(0), labels="real")
        >>> result.gradient_commutes, result.loss_commutes
        (True, False)
    """
    import torch

    scale = float(check_positive("scale", scale))
    draw = labels if callable(labels) else _labels(check_choice("labels", labels, LABELS), scale)
    classes = labels in ("one_hot", "index", "simplex")
    num_outputs = check_integer("num_outputs", num_outputs, 2 if classes else 1)
    batch_size = check_integer("batch_size", batch_size, 1)
    num_points = check_integer("num_points", num_points, 1)
    precision = getattr(torch, check_choice("dtype", dtype, ("float32", "float64")))
    if tolerance is None:
        tolerance = torch.finfo(precision).eps ** 0.5
    tolerance = float(check_positive("tolerance", tolerance))

    def value_and_gradient(z: NDArray, y: NDArray, as_index: bool) -> tuple[NDArray, NDArray]:
        """Evaluate the loss and its gradient in the logits, as float64 arrays."""
        logits = torch.tensor(z, dtype=precision, requires_grad=True)
        target = torch.tensor(y.argmax(axis=1)) if as_index else torch.tensor(y, dtype=precision)
        value = loss(logits, target)
        if not isinstance(value, torch.Tensor) or not value.requires_grad:
            raise ValueError("`loss` must be a tensor differentiable in the logits, got a constant.")
        total = value.sum()
        (gradient,) = torch.autograd.grad(total, logits)
        if not (torch.isfinite(total) and torch.isfinite(gradient).all()):
            raise ValueError(
                f"`loss` must be finite, got {total.item():g} at labels {y.tolist()}. Choose other `labels`."
            )
        return np.asarray(total.item()), gradient.double().numpy()

    gaps: list[Gap | None] = [None, None]
    magnitudes = [0.0, 0.0]
    for _ in range(num_points):
        z = scale * rng.standard_normal((batch_size, num_outputs))
        y_i, y_j = (np.asarray(draw(rng, batch_size, num_outputs), dtype=float) for _ in range(2))
        lam = float(rng.uniform())
        first = value_and_gradient(z, y_i, labels == "index")
        second = value_and_gradient(z, y_j, labels == "index")
        mixed = value_and_gradient(z, lam * y_i + (1 - lam) * y_j, False)
        for k in range(2):
            mix = lam * first[k] + (1 - lam) * second[k]
            size = float(np.max(np.abs(mix - mixed[k])))
            terms = (first[k], second[k], mixed[k])
            magnitudes[k] = max(magnitudes[k], *(float(np.max(np.abs(term))) for term in terms))
            known = gaps[k]
            if known is None or size > known.size:
                gaps[k] = Gap(size, 0.0, z, y_i, y_j, lam, as_result(mix), as_result(mixed[k]))
    loss_gap, gradient_gap = (
        Gap(**{**vars(gap), "relative": gap.size / (magnitude or 1.0)})
        for gap, magnitude in zip(gaps, magnitudes, strict=True)
        if gap is not None
    )
    return LabelAverageTest(
        gradient_gap.relative <= tolerance, loss_gap.relative <= tolerance, gradient_gap, loss_gap, tolerance
    )


def _labels(kind: str, scale: float) -> DrawLabels:
    """Return the sampler of one kind of label, shape [batch, num_outputs]."""

    def draw(rng: np.random.Generator, batch_size: int, num_outputs: int) -> NDArray:
        shape = (batch_size, num_outputs)
        if kind in ("one_hot", "index"):
            return np.eye(num_outputs)[rng.integers(0, num_outputs, batch_size)]
        if kind == "simplex":
            return rng.dirichlet(np.ones(num_outputs), batch_size)
        if kind == "real":
            return scale * rng.standard_normal(shape)
        bits = rng.integers(0, 2, shape)
        return bits if kind == "binary" else 2 * bits - 1

    return draw


def label_jensen_gap(
    potential: str | Callable[[NDArray[np.float64]], ArrayLike],
    y_i: ArrayLike,
    y_j: ArrayLike,
    lam: ArrayLike,
) -> Any:
    r"""Gap :math:`\lambda c(y_i)+(1-\lambda)c(y_j)-c(\tilde y)` between mixed losses and the loss of the mixed label.

    Exact for every loss :math:`h(z)+\langle g(z),y\rangle+c(y)`: the gap does not depend on the network, so the
    gradients agree. Squared error :math:`\lVert z-y\rVert^2` has :math:`c=\lVert y\rVert^2` and gap
    :math:`\lambda(1-\lambda)\lVert y_i-y_j\rVert^2`; KL divergence has c = negative entropy and gap
    :math:`H(\tilde y)-\lambda H(y_i)-(1-\lambda)H(y_j)`; a Bregman loss has its own potential.

    Args:
        potential: `squared`, `entropy` (labels >= 0), or c itself: takes labels [..., K], returns shape [...].
        y_i: First labels, shape [..., K]; a number is a label with one component.
        y_j: Second labels, broadcast with `y_i`.
        lam: Weight(s) in [0, 1], broadcast with the leading shape of the labels.

    Returns:
        The gap, >= 0 where c is convex, of the leading shape.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory C.1.

    Example:
        >>> label_jensen_gap("squared", 3.0, -1.0, 0.25)  # 3/16 * 16
        3.0
    """
    first, second = (np.atleast_1d(check_array(name, y, (0, 1, 2, 3))) for name, y in (("y_i", y_i), ("y_j", y_j)))
    weight = check_interval("lam", lam, 0, 1)[..., None]
    mixed = weight * first + (1 - weight) * second
    weight = weight[..., 0]
    if potential == "squared":
        return as_result(weight * (1 - weight) * np.sum((first - second) ** 2, axis=-1))
    if potential == "entropy":
        for name, y in (("y_i", first), ("y_j", second)):
            check_interval(name, y, 0, np.inf, closed="left")
        # Two divergences from the mixed label: no difference of entropies, so no digits are lost near the ends.
        parts = [np.sum(rel_entr(y, mixed), axis=-1) for y in (first, second)]
        total = [np.sum(y - mixed, axis=-1) for y in (first, second)]
        gaps = [part - excess for part, excess in zip(parts, total, strict=True)]
        return as_result(weight * gaps[0] + (1 - weight) * gaps[1])
    if not callable(potential):
        check_choice("potential", potential, ("squared", "entropy"))
    c = [np.asarray(potential(y), dtype=float) for y in (first, second, mixed)]  # type: ignore[operator]
    return as_result(weight * c[0] + (1 - weight) * c[1] - c[2])


def _affine_loss() -> tuple[sp.Expr, ...]:
    """Return z, y_i, y_j, lam, and the general loss h(z) + g(z) y + c(y) as a function of y."""
    z, y_i, y_j, lam = sp.symbols("z y_i y_j lambda")
    h, g, c = (sp.Function(name) for name in "hgc")
    return z, y_i, y_j, lam, lambda y: h(z) + g(z) * y + c(y), h, g, c


def derive_gradient_commutes() -> Derivation:
    r"""Derive that gradients commute with label averaging when :math:`\ell=h(z)+g(z)y+c(y)`.

    Ends with the gradient of the logistic loss at the mixed label.

    Returns:
        The derivation; its result is :math:`\sigma(z)-\tilde y` in the symbols z, y_i, y_j, lambda.

    References:
        theory C.1.

    Example:
        >>> derive_gradient_commutes().verify().result.subs({"z": 0, "y_i": 1, "y_j": 0, "lambda": 0})
        1/2
    """
    z, y_i, y_j, lam, ell, h, g, _ = _affine_loss()
    mixed = lam * y_i + (1 - lam) * y_j
    logistic = sp.log(1 + sp.exp(z)) - z * mixed
    return Derivation(
        "The mean of the gradients is the gradient at the mean label.",
        ("the gradient in z is affine in y, that is, the loss is h(z) + g(z) y + c(y)",),
        (
            Step(lam * sp.Derivative(ell(y_i), z) + (1 - lam) * sp.Derivative(ell(y_j), z), "mean of the gradients"),
            Step(sp.Derivative(h(z), z) + sp.Derivative(g(z), z) * mixed, "c(y) does not contain z"),
            Step(sp.Derivative(ell(mixed), z), "which is the gradient at the mixed label"),
            Step(sp.Eq(sp.Derivative(logistic, z), 1 / (1 + sp.exp(-z)) - mixed), "logistic loss: g(z) = -z, c = 0"),
        ),
    )


def derive_jensen_gap() -> Derivation:
    r"""Derive the gap between mixed losses and the loss of the mixed label, and its form for squared error.

    Returns:
        The derivation; its result is :math:`\lambda(1-\lambda)(y_i-y_j)^2`.

    References:
        theory C.1.

    Example:
        >>> derive_jensen_gap().verify().result.subs({"y_i": 3, "y_j": -1, "lambda": sp.Rational(1, 4)})
        3
    """
    z, y_i, y_j, lam, ell, _, _, c = _affine_loss()
    mixed = lam * y_i + (1 - lam) * y_j
    squared = lam * (z - y_i) ** 2 + (1 - lam) * (z - y_j) ** 2 - (z - mixed) ** 2
    return Derivation(
        "Mixed losses exceed the loss of the mixed label by the Jensen gap of c, whatever the network.",
        ("the loss is h(z) + g(z) y + c(y)",),
        (
            Step(lam * ell(y_i) + (1 - lam) * ell(y_j) - ell(mixed), "mix of losses less the loss of the mix"),
            Step(lam * c(y_i) + (1 - lam) * c(y_j) - c(mixed), "h and g cancel"),
            Step(sp.Eq(squared, lam * (1 - lam) * (y_i - y_j) ** 2), "squared error: c(y) = y squared"),
        ),
    )
