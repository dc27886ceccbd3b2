"""Linear models trained on mixed pairs by averaged SGD, many alphas and seeds in one program.

Seeds are independent; the alphas of one seed see the same pairs, with weights of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from .._checks import check_alpha, check_array, check_choice, check_integer, check_interval, check_positive
from ..weights import sample_lam

__all__ = ["LinearModels", "implied_weight_decay", "mixed_loss", "train_linear_models"]

LOSSES = ("squared", "logistic")
_CHUNK = 2**18  # numbers drawn at a time: bounds the memory


@dataclass(frozen=True)
class LinearModels:
    """Linear models by alpha and seed.

    Attributes:
        slope: Weights, the shape of `alpha` plus [S, d].
        intercept: The shape of `alpha` plus [S]; zero where none is fitted.
        loss: `squared` (prediction: the linear function) or `logistic` (its sigmoid).
    """

    slope: NDArray[np.float64]
    intercept: NDArray[np.float64]
    loss: str


def train_linear_models(
    x: ArrayLike,
    y: ArrayLike,
    alpha: ArrayLike,
    rng: np.random.Generator,
    *,
    loss: str = "squared",
    kappa: float = 0.0,
    fit_intercept: bool = True,
    num_seeds: int | None = None,
    num_steps: int = 2000,
    batch_size: int = 64,
    learning_rate: float = 0.1,
) -> LinearModels:
    r"""Train linear models on freshly drawn mixed pairs, by SGD from zero whose last half is averaged.

    The minimised loss is :math:`\tfrac12E\tilde r^2` (`squared`) or the cross-entropy (`logistic`), plus
    :math:`\tfrac\kappa2\|\beta\|^2` of the slope. Each step takes pairs drawn with replacement and one lam per pair;
    the rate at step t of T is :math:`\eta/\sqrt{1+20\,t/T}`.

    Args:
        x: Inputs, shape [n, d], or one data set per seed, [S, n, d]. Of unit scale, or the rate must follow.
        y: Targets (labels in [0, 1] for `logistic`), shape [n] or [S, n].
        alpha: Beta concentration(s) in [0, inf]; 0 is ERM.
        rng: Source of randomness.
        loss: `squared` or `logistic`.
        kappa: Weight decay >= 0 of the slope.
        fit_intercept: Whether an intercept is fitted.
        num_seeds: Number S of independent runs; needed exactly when `x` is one data set.
        num_steps: Steps T, >= 2.
        batch_size: Pairs per step.
        learning_rate: The first rate, > 0.

    Returns:
        The averaged models.

    Raises:
        ValueError: If an argument is out of range, shapes disagree, or the training diverges.

    References:
        theory F.1, F.3, F.4; Polyak and Juditsky 1992 (averaging).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> line = train_linear_models([[-1.0], [1.0]], [-2.0, 2.0], [0.0, 1.0], rng, num_seeds=3)
        >>> line.slope.shape, bool(np.allclose(line.slope, 2.0, atol=1e-6))
        ((2, 3, 1), True)
    """
    check_choice("loss", loss, LOSSES)
    x, y = _data(x, y, num_seeds, labels=loss == "logistic")
    alphas = check_alpha(alpha)
    penalty = np.full(x.shape[2] + 1, float(check_positive("kappa", kappa, zero=True)))
    steps, size = check_integer("num_steps", num_steps, 2), check_integer("batch_size", batch_size, 1)
    rate = float(check_positive("learning_rate", learning_rate))
    penalty[-1] = 0.0
    ones = np.full((*x.shape[:2], 1), 1.0 if fit_intercept else 0.0)  # mixing keeps the constant
    pairs = _mixed_pairs(np.concatenate([x, ones], axis=2), y, alphas.ravel(), rng, steps, size)
    weights = np.zeros((alphas.size, len(x), x.shape[2] + 1))
    average = np.zeros_like(weights)
    with np.errstate(over="ignore", invalid="ignore"):  # a diverging run is named below
        for step, (inputs, labels) in enumerate(pairs):
            outputs = (inputs @ weights[..., None])[..., 0]
            residual = (expit(outputs) if loss == "logistic" else outputs) - labels
            gradient = (residual[..., None, :] @ inputs)[..., 0, :] / size + penalty * weights
            weights = weights - rate / np.sqrt(1 + 20 * step / steps) * gradient
            if step >= steps // 2:
                average += weights / (steps - steps // 2)
    if not np.isfinite(average).all():
        raise ValueError(f"`learning_rate` must be so small that the training stays finite, got {rate:g}. Halve it.")
    average = average.reshape(*alphas.shape, *average.shape[1:])
    return LinearModels(average[..., :-1], average[..., -1], loss)


def mixed_loss(
    models: LinearModels, x: ArrayLike, y: ArrayLike, alpha: ArrayLike, rng: np.random.Generator, num_pairs: int
) -> NDArray[np.float64]:
    """Measure the loss of trained models on fresh mixed pairs: mean squared error, or cross-entropy in nats.

    Args:
        models: The models.
        x: Inputs as trained on, shape [n, d] or [S, n, d].
        y: Targets, shape [n] or [S, n].
        alpha: The concentrations trained with; one data set and its alphas as in `train_linear_models`.
        rng: Source of randomness.
        num_pairs: Pairs for each model; the standard error falls with their root.

    Returns:
        One loss per model, the shape of `alpha` plus [S].

    Raises:
        ValueError: If an argument is out of range or the shapes disagree.

    References:
        theory F.1, F.7.
    """
    alphas = check_alpha(alpha)
    if models.intercept.shape[:-1] != alphas.shape:
        raise ValueError(
            f"`alpha` must have the shape {models.intercept.shape[:-1]} of the models, got {alphas.shape}."
        )
    seeds = models.intercept.shape[-1]
    x, y = _data(x, y, seeds if np.ndim(x) == 2 else None, labels=models.loss == "logistic")
    slope = models.slope.reshape(alphas.size, seeds, -1)
    if (len(x), x.shape[2]) != slope.shape[1:]:
        raise ValueError(f"`x` must fit models of shape {slope.shape[1:]}, got {x.shape}.")
    intercept = models.intercept.reshape(alphas.size, seeds, 1)
    total, num_pairs = np.zeros((alphas.size, seeds)), check_integer("num_pairs", num_pairs, 1)
    piece = min(num_pairs, 4096)
    sizes = [piece] * (num_pairs // piece) + [num_pairs % piece] * (num_pairs % piece > 0)
    for size in sizes:
        for inputs, labels in _mixed_pairs(x, y, alphas.ravel(), rng, 1, size):
            outputs = (inputs @ slope[..., None])[..., 0] + intercept
            if models.loss == "logistic":
                losses = np.logaddexp(0, outputs) - labels * outputs
            else:
                losses = (outputs - labels) ** 2
            total += losses.sum(axis=-1) / num_pairs
    return total.reshape(models.intercept.shape)


def implied_weight_decay(x: ArrayLike, y: ArrayLike, slope: ArrayLike) -> Any:
    r"""Weight decay of the plain ridge fit nearest to a slope: :math:`\beta^\top(\hat c-\hat\Sigma\beta)/\|\beta\|^2`.

    Exact where the slope is a ridge fit :math:`(\hat\Sigma+\kappa I)^{-1}\hat c`; 0 for OLS.

    Args:
        x: Inputs, shape [n, d].
        y: Targets, shape [n].
        slope: One or many slopes, not zero, shape [..., d].

    Returns:
        The weight decay, shape [...].

    Raises:
        ValueError: If the shapes disagree.

    References:
        theory F.1.

    Example:
        >>> round(float(implied_weight_decay([[0.0], [2.0]], [0.0, 2.0], [0.4])), 6)  # Sigma = c = 1
        1.5
    """
    inputs, target = _data(x, y, 1, labels=False)
    beta = np.asarray(slope, dtype=np.float64)
    if beta.shape[-1:] != inputs.shape[2:] or not np.isfinite(beta).all() or not np.all(np.any(beta != 0, axis=-1)):
        raise ValueError(f"`slope` must be finite, not zero, of shape [..., {inputs.shape[2]}], got {beta.shape}.")
    centred = inputs[0] - inputs[0].mean(axis=0)
    gap = centred.T @ target[0] / len(centred) - beta @ (centred.T @ centred / len(centred))
    return (beta * gap).sum(axis=-1) / (beta**2).sum(axis=-1)


def _data(
    x: ArrayLike, y: ArrayLike, num_seeds: int | None, labels: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Check the data and return them with a leading axis of seeds."""
    x, y = check_array("x", x, (2, 3)), check_array("y", y, (1, 2))
    if labels:
        check_interval("y", y, 0, 1)
    if x.shape[:-1] != y.shape:
        raise ValueError(f"`y` must have one target per row of x, shape {x.shape[:-1]}, got {y.shape}.")
    if (num_seeds is None) == (x.ndim == 2):
        raise ValueError(f"`num_seeds` must be given for one data set, not for one per seed, got {num_seeds}.")
    if num_seeds is None:
        return x, y
    seeds = check_integer("num_seeds", num_seeds, 1)
    return np.broadcast_to(x, (seeds, *x.shape)), np.broadcast_to(y, (seeds, *y.shape))


def _mixed_pairs(
    x: NDArray, y: NDArray, alphas: NDArray, rng: np.random.Generator, steps: int, size: int
) -> Iterator[tuple[NDArray, NDArray]]:
    """Yield mixed inputs [A, S, B, d] and targets [A, S, B] for each step."""
    seeds, n = y.shape
    seed = np.arange(seeds)[:, None]
    at_once = max(1, _CHUNK // (len(alphas) * seeds * size))
    for start in range(0, steps, at_once):
        count = min(at_once, steps - start)
        pairs = rng.integers(0, n, (count, 2, seeds, size))
        lams = np.stack([sample_lam(rng, (count, seeds, size), a)[0] for a in alphas], axis=1)
        for (i, j), lam in zip(pairs, lams, strict=True):
            first, second = x[seed, i], x[seed, j]
            yield second + lam[..., None] * (first - second), y[seed, j] + lam * (y[seed, i] - y[seed, j])
