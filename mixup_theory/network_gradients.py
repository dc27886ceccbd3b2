r"""Gradient noise measured on a real network: mean and covariance trace of ERM's and mixup's batch gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._checks import check_choice, check_integer
from .gradient_noise import NOISE_PARTNERS
from .jackknife import Estimate, estimate, squared_mean_replicates, trace_replicates
from .laws import AlphaOrLaw
from .mixing import LAM_PER, draw_lam, draw_partner, one_hot

if TYPE_CHECKING:
    import torch

__all__ = [
    "GradientNoise",
    "as_targets",
    "between",
    "erm_gradient_noise",
    "mixup_gradient_noise",
    "per_sample_gradients",
]

Loss: TypeAlias = "Callable[[torch.Tensor, torch.Tensor], torch.Tensor]"


@dataclass(frozen=True)
class GradientNoise:
    """Mean and noise of the batch gradient.

    Attributes:
        mean: Mean batch gradient, shape [num_parameters], in the order of `model.parameters()`.
        trace: Trace of the covariance of the batch gradient.
        mean_squared: Squared norm of the mean gradient, without the bias of the estimated mean.
    """

    mean: NDArray[np.float64]
    trace: Estimate
    mean_squared: Estimate


def per_sample_gradients(
    model: torch.nn.Module, loss: Loss, x: torch.Tensor, y: torch.Tensor, *, chunk_size: int | None = None
) -> torch.Tensor:
    """Gradient of the loss of every example with respect to all trainable parameters, by `torch.func`.

    Args:
        model: A network whose examples do not interact: `model.eval()` where it has batch norm or dropout.
        loss: `loss(outputs, targets)`, the mean over a batch (here of one example).
        x: Inputs, shape [n, ...].
        y: Targets, shape [n, ...].
        chunk_size: Examples at a time, to bound memory; all by default.

    Returns:
        Gradients, shape [n, num_parameters].

    Raises:
        ValueError: If lengths differ, or the model is random or mixes the examples of a batch.

    References:
        theory C.5, C.6.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> per_sample_gradients(model, lambda out, y: out.mean(), torch.tensor([[2.0], [3.0]]), torch.zeros(2))
        tensor([[2.],
                [3.]])
    """
    import torch

    if len(x) != len(y) or len(x) == 0:
        raise ValueError(f"`x` and `y` must have the same length >= 1, got {len(x)} and {len(y)}.")
    gradient = _batch_gradient(model, loss)
    one = torch.func.vmap(lambda u, t: gradient(u[None], t[None]), chunk_size=chunk_size)
    return one(x, y)


def _batch_gradient(model: torch.nn.Module, loss: Loss) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the gradient of the loss of one batch as a flat vector, a pure function that vmap can batch."""
    import torch

    for module in model.modules():
        if module.training and isinstance(
            module, torch.nn.modules.batchnorm._BatchNorm | torch.nn.modules.dropout._DropoutNd
        ):
            raise ValueError(
                f"`model` must treat every example by itself, got {type(module).__name__} in training mode. "
                "Call model.eval() first."
            )
    trainable = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    if not trainable:
        raise ValueError("`model` must have trainable parameters, got none.")
    constants = {name: p.detach() for name, p in model.named_parameters() if not p.requires_grad}
    constants.update({name: b.detach() for name, b in model.named_buffers()})

    def value(parameters: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return loss(torch.func.functional_call(model, (parameters, constants), (x,)), y)

    def flat(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        parts = torch.func.grad(value)(trainable, x, y)
        return torch.cat([part.reshape(-1) for part in parts.values()])

    return flat


def erm_gradient_noise(
    model: torch.nn.Module,
    loss: Loss,
    x: torch.Tensor,
    y: torch.Tensor,
    *,
    batch_size: int,
    chunk_size: int | None = 256,
) -> GradientNoise:
    """Mean and noise of plain batch gradients, exact for batches drawn with replacement from the data.

    Args:
        model: As in `per_sample_gradients`.
        loss: Mean loss of a batch, `loss(outputs, targets)`.
        x: Inputs, shape [N, ...].
        y: Targets, shape [N, ...].
        batch_size: Batch size n, >= 1; the covariance is that of one example over n.
        chunk_size: Examples at a time.

    Returns:
        The noise, with standard errors 0.

    Raises:
        ValueError: As `per_sample_gradients`.

    References:
        theory C.6.

    Example:
        >>> import torch
        >>> model, x = torch.nn.Linear(1, 1, bias=False), torch.tensor([[2.0], [4.0]])
        >>> erm_gradient_noise(model, lambda out, y: out.mean(), x, torch.zeros(2), batch_size=2).trace.value
        0.5
    """
    n = check_integer("batch_size", batch_size, 1)
    gradients = per_sample_gradients(model, loss, x, y, chunk_size=chunk_size).double()
    mean = gradients.mean(dim=0)
    spread = float((gradients - mean).square().sum() / len(gradients))
    return GradientNoise(mean.cpu().numpy(), Estimate(spread / n, 0.0), Estimate(float(mean.square().sum()), 0.0))


def mixup_gradient_noise(
    model: torch.nn.Module,
    loss: Loss,
    x: torch.Tensor,
    y: torch.Tensor,
    alpha: AlphaOrLaw,
    rng: np.random.Generator,
    *,
    batch_size: int,
    num_batches: int = 400,
    partner: str = "permutation",
    lam_per: str = "batch",
    lam_max: bool = False,
    labels: str = "soft",
    num_classes: int | None = None,
    chunk_size: int = 25,
) -> GradientNoise:
    r"""Mean and noise of mixup batch gradients, estimated from independent batches.

    Each batch is drawn with replacement from the data and mixed by the scheme. With gradients :math:`G_r`, the
    trace is :math:`\sum_r\lVert G_r-\bar G\rVert^2/(R-1)`, unbiased, and the squared mean is unbiased too; both
    standard errors are jackknifed over batches. Memory: `num_batches` gradients.

    Args:
        model: As in `per_sample_gradients`.
        loss: Mean loss of a batch, `loss(outputs, targets)`.
        x: Inputs in float32 or float64, shape [N, ...].
        y: Whole-number labels [N] (then `num_classes` is needed), or soft labels or targets [N, ...].
        alpha: Beta concentration in [0, inf], or a law of lam.
        rng: Source of the batches, the partners, lam, and the sampled labels.
        batch_size: Batch size n, >= 2; even for `flip`.
        num_batches: Number R of batches, >= 3.
        partner: One of `gradient_noise.NOISE_PARTNERS`; `fresh` draws both members of every pair from the data.
        lam_per: One of `mixing.LAM_PER` (`pair` belongs to `flip`).
        lam_max: Replace lam by max(lam, 1 - lam).
        labels: `soft` mixes the labels; `hard` draws the first member's label with probability lam.
        num_classes: Number of classes for whole-number labels.
        chunk_size: Batches at a time.

    Returns:
        The noise.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory C.6.

    Example:
        >>> import torch
        >>> model, x = torch.nn.Linear(1, 1, bias=False), torch.tensor([[-1.0], [1.0]])
        >>> rng, loss = np.random.default_rng(0), lambda out, y: out.mean()
        >>> noise = mixup_gradient_noise(
        ...     model, loss, x, torch.zeros(2), 1.0, rng, batch_size=4, partner="fresh", lam_per="sample"
        ... )
        >>> abs(noise.trace.value - 2 / 3 / 4) < 6 * noise.trace.standard_error  # s(1) / 4
        True
    """
    import torch

    check_choice("partner", partner, NOISE_PARTNERS)
    check_choice("lam_per", lam_per, LAM_PER)
    check_choice("labels", labels, ("soft", "hard"))
    n, num_batches = check_integer("batch_size", batch_size, 2), check_integer("num_batches", num_batches, 3)
    chunk_size = check_integer("chunk_size", chunk_size, 1)
    targets = as_targets(x, y, num_classes)
    gradient = torch.func.vmap(_batch_gradient(model, loss))
    gradients = []
    for start in range(0, num_batches, chunk_size):
        draws = [
            _draw_batch(rng, len(x), n, alpha, partner, lam_per, lam_max)
            for _ in range(min(chunk_size, num_batches - start))
        ]
        first, second = (torch.as_tensor(np.stack([draw[k] for draw in draws]), device=x.device) for k in (0, 1))
        lam = np.stack([draw[2] for draw in draws])
        share = lam if labels == "soft" else (rng.uniform(size=lam.shape) < lam).astype(float)
        gradients.append(gradient(between(x, first, second, lam), between(targets, first, second, share)))
    rows = torch.cat(gradients).double().cpu().numpy()
    signal = squared_mean_replicates(rows, np.sum(rows**2, axis=1))
    return GradientNoise(rows.mean(axis=0), estimate(trace_replicates(rows)), estimate(signal))


def _draw_batch(
    rng: np.random.Generator, size: int, n: int, alpha: AlphaOrLaw, partner: str, lam_per: str, lam_max: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Draw the members and the weights of one mixed batch out of `size` examples."""
    first = rng.integers(0, size, n)
    second = rng.integers(0, size, n) if partner == "fresh" else first[draw_partner(rng, n, partner)]
    return first, second, draw_lam(rng, n, alpha, lam_per, lam_max)


def as_targets(x: torch.Tensor, y: torch.Tensor, num_classes: int | None) -> torch.Tensor:
    """Return targets that can be mixed: whole-number labels become rows of 0 and 1.

    Args:
        x: Inputs, shape [N, ...]; their length and precision count.
        y: Labels, shape [N, ...].
        num_classes: Number of classes for whole-number labels.

    Returns:
        Targets, shape [N, ...].

    Raises:
        ValueError: If lengths differ, `x` is no float, or `num_classes` is missing.
    """
    if len(x) != len(y) or len(x) == 0:
        raise ValueError(f"`x` and `y` must have the same length >= 1, got {len(x)} and {len(y)}.")
    if not x.is_floating_point() or x.element_size() < 4:
        raise ValueError(f"`x` must be float32 or float64, got {x.dtype}.")
    if y.is_floating_point():
        return y
    if num_classes is None:
        raise ValueError("`num_classes` must be given for whole-number labels, got None.")
    return one_hot(y, num_classes, x)


def between(values: torch.Tensor, first: Any, second: Any, lam: NDArray[np.float64]) -> torch.Tensor:
    """Return lam values[first] + (1 - lam) values[second] for index arrays of the shape of lam.

    Args:
        values: Inputs or targets, shape [N, ...].
        first: First members.
        second: Second members.
        lam: Weights of the first members.

    Returns:
        Mixed values, of the shape of lam followed by that of one example.
    """
    weight = values.new_tensor(lam).reshape(lam.shape + (1,) * (values.ndim - 1))
    return weight * values[first] + (1 - weight) * values[second]
