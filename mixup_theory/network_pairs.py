r"""Noise of single mixed pairs on a real network: given the pair, over lam, over pairs, and from sampled labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ._checks import check_choice, check_integer
from .jackknife import Estimate, estimate, mean_replicates, squared_mean_replicates
from .laws import AlphaOrLaw, as_law
from .mixing import draw_lam
from .network_gradients import Loss, as_targets, between, per_sample_gradients
from .quadrature import gauss_rule

if TYPE_CHECKING:
    import torch

__all__ = [
    "NoiseParts",
    "hard_label_noise",
    "mixup_noise_parts",
    "pair_gradient_noise",
    "shared_example_covariance",
]


def pair_gradient_noise(
    model: torch.nn.Module,
    loss: Loss,
    x: torch.Tensor,
    y: torch.Tensor,
    alpha: float,
    *,
    num_nodes: int = 64,
    num_classes: int | None = None,
) -> tuple[NDArray[np.float64], float]:
    r"""Mean over lam, and trace of the covariance over lam, of the gradient of one mixed pair.

    By the Gauss rule: exact for a linear model, to rounding for a smooth network, with an error of order
    :math:`n^{-2}` in the number of nodes where the segment crosses kinks.

    Args:
        model: As in `network_gradients.per_sample_gradients`.
        loss: Mean loss of a batch, `loss(outputs, targets)`.
        x: Both inputs, shape [2, ...].
        y: Both labels: whole numbers [2] (then `num_classes` is needed), or targets [2, ...].
        alpha: Beta concentration in [0, inf].
        num_nodes: Quadrature nodes.
        num_classes: Number of classes for whole-number labels.

    Returns:
        The mean, shape [num_parameters], and the trace.

    Raises:
        ValueError: If `x` does not hold two examples or an argument is out of range.

    References:
        theory C.4.

    Example:
        >>> import torch
        >>> model, x = torch.nn.Linear(1, 1, bias=False), torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
        >>> _, trace = pair_gradient_noise(model.double(), lambda out, y: out.mean(), x, x[:, 0], 1.0)
        >>> round(trace, 9)  # Var(2 lam - 1)
        0.333333333
    """
    if len(x) != 2:
        raise ValueError(f"`x` must hold two examples, got {len(x)}.")
    targets = as_targets(x, y, num_classes)
    nodes, weights = gauss_rule(num_nodes, alpha)
    first, second = np.zeros(len(nodes), dtype=int), np.ones(len(nodes), dtype=int)
    mixed = between(x, first, second, nodes), between(targets, first, second, nodes)
    gradients = per_sample_gradients(model, loss, *mixed).double().cpu().numpy()
    mean = weights @ gradients
    return mean, float(weights @ np.sum((gradients - mean) ** 2, axis=1))


def hard_label_noise(
    model: torch.nn.Module,
    loss: Loss,
    x: torch.Tensor,
    y: torch.Tensor,
    alpha: AlphaOrLaw,
    rng: np.random.Generator,
    *,
    num_pairs: int = 1000,
    num_classes: int | None = None,
    chunk_size: int | None = 256,
) -> Estimate:
    r"""Trace of the gradient covariance that a sampled hard label adds to one mixed example.

    The two-point law makes it exact given the pair and lam, for any loss:
    :math:`\lambda(1-\lambda)\lVert\nabla\ell(\tilde x,y_i)-\nabla\ell(\tilde x,y_j)\rVert^2`; averaged over
    random pairs and lam. Labels are drawn independently, so a batch of n gets 1/n of it. It is what soft labels
    remove if the loss lets labels be averaged.

    Args:
        model: As in `network_gradients.per_sample_gradients`.
        loss: Mean loss of a batch, `loss(outputs, targets)`.
        x: Inputs in float32 or float64, shape [N, ...].
        y: Whole-number labels [N] (then `num_classes` is needed), or soft labels or targets [N, ...].
        alpha: Beta concentration in [0, inf], or a law of lam.
        rng: Source of pairs (both members with replacement) and lam.
        num_pairs: Number of pairs, >= 3.
        num_classes: Number of classes for whole-number labels.
        chunk_size: Examples at a time.

    Returns:
        The extra variance.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory C.5.

    Example:
        >>> import torch
        >>> model, x = torch.nn.Linear(1, 1, bias=False), torch.tensor([[1.0], [1.0]])
        >>> half_square = lambda out, y: 0.5 * ((out.squeeze(-1) - y) ** 2).mean()
        >>> extra = hard_label_noise(model, half_square, x, torch.tensor([0.0, 1.0]), 1.0, np.random.default_rng(0))
        >>> abs(extra.value - 1 / 12) < 6 * extra.standard_error  # E lam (1 - lam) / 2
        True
    """
    num_pairs = check_integer("num_pairs", num_pairs, 3)
    targets = as_targets(x, y, num_classes)
    first, second = rng.integers(0, len(x), (2, num_pairs))
    lam = as_law(alpha).sample(rng, num_pairs)
    mixed = between(x, first, second, lam)
    one, two = (
        per_sample_gradients(model, loss, mixed, targets[index], chunk_size=chunk_size) for index in (first, second)
    )
    distance = (one - two).double().square().sum(dim=1).cpu().numpy()
    values = lam * (1 - lam) * distance
    return Estimate(float(values.mean()), float(values.std(ddof=1) / np.sqrt(num_pairs)))


@dataclass(frozen=True)
class NoiseParts:
    r"""Where the gradient noise of mixed examples comes from, for fresh pairs.

    Attributes:
        per_example: Trace of the covariance of the gradient of one mixed example.
        given_pair: Mean over pairs of the trace of its covariance over lam.
        given_lam: Mean over lam of the trace of its covariance over pairs.
        floor: Trace of the covariance, over lam, of the mean over pairs: what one lam per batch cannot average out.
        mean_squared: Squared norm of the expected gradient.
    """

    per_example: Estimate
    given_pair: Estimate
    given_lam: Estimate
    floor: Estimate
    mean_squared: Estimate

    def batch_trace(self, batch_size: int, lam_per: str = "batch", shared: float = 0.0) -> float:
        r"""Predicted trace for n pairs: (per example)/n, or (given lam)/n + floor with one lam per batch.

        Args:
            batch_size: Number n of pairs, >= 1.
            lam_per: `batch` or `sample`.
            shared: 0 for fresh pairs; for a roll of n >= 3 examples, where two neighbouring pairs share one, their
                `shared_example_covariance`, of which it adds 2/n.

        Returns:
            The trace of the covariance of the batch gradient.

        Raises:
            ValueError: If an argument is out of range.
        """
        n = check_integer("batch_size", batch_size, 1)
        if lam_per == "sample":
            return (self.per_example.value + 2 * shared) / n
        if lam_per != "batch":
            raise ValueError(f"`lam_per` must be one of batch, sample; got {lam_per!r}.")
        return (self.given_lam.value + 2 * shared) / n + self.floor.value


def mixup_noise_parts(
    model: torch.nn.Module,
    loss: Loss,
    x: torch.Tensor,
    y: torch.Tensor,
    alpha: float,
    rng: np.random.Generator,
    *,
    num_blocks: int = 25,
    pairs_per_block: int = 20,
    num_nodes: int = 16,
    num_classes: int | None = None,
) -> NoiseParts:
    r"""Split the gradient noise of mixed examples by its sources, on any network.

    Law of total covariance, both ways: :math:`\mathrm{Cov}(g)=E\,\mathrm{Cov}(g\mid\lambda)
    +\mathrm{Cov}(E[g\mid\lambda])`, and the same given the pair. Every random pair is evaluated at all nodes
    of the Gauss rule for lam, every estimate is unbiased (products of different pairs only) up to that rule's
    error, and errors are jackknifed over blocks. Memory: blocks times nodes gradients.

    Args:
        model: As in `network_gradients.per_sample_gradients`.
        loss: Mean loss of a batch, `loss(outputs, targets)`.
        x: Inputs in float32 or float64, shape [N, ...].
        y: Whole-number labels [N] (then `num_classes` is needed), or soft labels or targets [N, ...].
        alpha: Beta concentration in [0, inf].
        rng: Source of pairs, both members with replacement.
        num_blocks: Blocks of pairs, >= 3.
        pairs_per_block: Pairs per block, >= 1.
        num_nodes: Quadrature nodes for lam.
        num_classes: Number of classes for whole-number labels.

    Returns:
        The parts, each with its standard error.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory C.4, C.6.

    Example:
        >>> import torch
        >>> model, x = torch.nn.Linear(1, 1, bias=False), torch.tensor([[-1.0], [1.0]])
        >>> rng = np.random.default_rng(0)
        >>> parts = mixup_noise_parts(model, lambda out, y: out.mean(), x, x[:, 0], 1.0, rng)
        >>> abs(parts.per_example.value - 2 / 3) < 6 * parts.per_example.standard_error  # s(1)
        True
    """
    num_blocks = check_integer("num_blocks", num_blocks, 3)
    count = check_integer("pairs_per_block", pairs_per_block, 1)
    targets = as_targets(x, y, num_classes)
    nodes, weights = gauss_rule(num_nodes, alpha)
    lam = np.broadcast_to(nodes, (count, len(nodes)))
    means, centred = [], []  # sums over the pairs of a block
    squares = np.empty((num_blocks, 3))  # of each gradient, of the mean over lam, and of the distance from it
    for block in range(num_blocks):
        first, second = (np.repeat(i[:, None], len(nodes), axis=1) for i in rng.integers(0, len(x), (2, count)))
        mixed = (between(values, first, second, lam).flatten(0, 1) for values in (x, targets))
        gradients = per_sample_gradients(model, loss, *mixed).double().cpu().numpy()
        gradients = gradients.reshape(count, len(nodes), -1)
        mean = np.einsum("k,rkp->rp", weights, gradients)
        gradients -= mean[:, None]
        own, spread = np.sum(mean**2, axis=1), np.einsum("k,rkp,rkp->r", weights, gradients, gradients)
        squares[block] = (own + spread).sum(), own.sum(), spread.sum()
        means.append(mean.sum(axis=0))
        centred.append((np.sqrt(weights)[:, None] * gradients.sum(axis=0)).reshape(-1))
    signal = squared_mean_replicates(means, squares[:, 1], count)
    floor = squared_mean_replicates(centred, squares[:, 2], count)
    per_example = mean_replicates(squares[:, 0], count) - signal
    return NoiseParts(
        per_example=estimate(per_example),
        given_pair=estimate(mean_replicates(squares[:, 2], count)),
        given_lam=estimate(per_example - floor),
        floor=estimate(floor),
        mean_squared=estimate(signal),
    )


def shared_example_covariance(
    model: torch.nn.Module,
    loss: Loss,
    x: torch.Tensor,
    y: torch.Tensor,
    alpha: float,
    rng: np.random.Generator,
    *,
    lam_per: str = "batch",
    lam_max: bool = False,
    num_examples: int = 200,
    num_partners: int = 8,
    num_classes: int | None = None,
    chunk_size: int | None = 256,
) -> Estimate:
    r"""Trace of the covariance of the gradients of two mixed pairs that share one example.

    The example is second in the first pair and first in the other, as in a rolled batch:
    :math:`\chi=\mathrm{tr\,Cov}(g_{ab,\lambda},g_{bc,\lambda'})`, with :math:`\lambda'=\lambda` given and averaged
    over (`batch`, by the Gauss rule), or independent weights (`sample`, drawn). Unbiased up to that rule's error:
    every shared b meets partners of its own on each side. For linear regression on centred data it is
    :math:`E[p^2]\,\mathrm{tr}C` and :math:`E\lambda^2\,E(1-\lambda)^2\,\mathrm{tr}C`. Memory: examples times partners
    gradients, twice.

    Args:
        model: As in `network_gradients.per_sample_gradients`.
        loss: Mean loss of a batch, `loss(outputs, targets)`.
        x: Inputs in float32 or float64, shape [N, ...].
        y: Whole-number labels [N] (then `num_classes` is needed), or soft labels or targets [N, ...].
        alpha: Beta concentration in [0, inf].
        rng: Source of the examples, all with replacement, and lam.
        lam_per: `batch` or `sample`.
        lam_max: Replace lam by max(lam, 1 - lam); it matters for `sample` only.
        num_examples: Shared examples, >= 3.
        num_partners: Partners on each side of each, >= 1; for `batch` as many quadrature nodes.
        num_classes: Number of classes for whole-number labels.
        chunk_size: Examples at a time.

    Returns:
        The covariance; it may be negative. The standard error is over shared examples.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory C.6.

    Example:
        >>> import torch
        >>> model, x = torch.nn.Linear(1, 1, bias=False), torch.tensor([[-1.0], [1.0]])
        >>> chi = shared_example_covariance(
        ...     model, lambda out, y: out.mean(), x, x[:, 0], 1.0, np.random.default_rng(0), lam_per="sample"
        ... )
        >>> abs(chi.value - 1 / 4) < 6 * chi.standard_error  # E lam E (1 - lam) Var x
        True
    """
    check_choice("lam_per", lam_per, ("batch", "sample"))
    num_examples = check_integer("num_examples", num_examples, 3)
    num_partners = check_integer("num_partners", num_partners, 1)
    targets, shape = as_targets(x, y, num_classes), (num_examples, num_partners)
    if lam_per == "batch":
        nodes, weights = gauss_rule(num_partners, alpha)
        lams = [np.broadcast_to(nodes, (num_examples, len(nodes)))] * 2
    else:
        weights = np.ones(1)
        lams = [draw_lam(rng, num_examples * num_partners, alpha, "sample", lam_max).reshape(shape) for _ in range(2)]
    shared = np.repeat(rng.integers(0, len(x), (num_examples, 1)), lams[0].shape[1], axis=1)
    others = rng.integers(0, len(x), (2, *lams[0].shape))
    sides = []
    for first, second, lam in ((others[0], shared, lams[0]), (shared, others[1], lams[1])):
        mixed = (between(values, first, second, lam).flatten(0, 1) for values in (x, targets))
        gradients = per_sample_gradients(model, loss, *mixed, chunk_size=chunk_size).double().cpu().numpy()
        gradients = gradients.reshape(*lam.shape, -1)
        if lam_per == "sample":
            gradients = gradients.mean(axis=1, keepdims=True)
        sides.append(gradients - gradients.mean(axis=0))
    values = np.einsum("k,bkp,bkp->b", weights, *sides, optimize=True) * num_examples / (num_examples - 1)
    return Estimate(float(values.mean()), float(values.std(ddof=1) / np.sqrt(num_examples)))
