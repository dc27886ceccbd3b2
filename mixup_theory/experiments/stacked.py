"""Many MLPs of one shape as one program: stacked weights, batched matrix products, the gradient written by hand.

For an MLP this is the automatic gradient, without its bookkeeping; the tests compare the two. Run r only ever meets
slice r of each array, so a run does not depend on its neighbours, NaN included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .manifold import StateMix

__all__ = ["StackedMLP", "is_large"]


class StackedMLP:
    """R multi-layer perceptrons with their gradients, all in two flat buffers.

    Attributes:
        params: All weights, flat: parameter by parameter, and inside each run by run.
        grads: Gradients in the same order, filled by `gradient`.
        num_runs: R.
        num_params: Number of parameters of one run.
    """

    def __init__(
        self, weights: Sequence[Mapping[str, NDArray]], loss: str, dtype: torch.dtype, device: str = "cpu"
    ) -> None:
        """Stack the weights of R networks made by `networks.mlp`.

        Args:
            weights: For each run, arrays by parameter name, in the order of the layers.
            loss: `cross_entropy` or `squared_error`.
            dtype: Precision.
            device: Where the program runs.
        """
        self.loss = loss
        self.num_runs = len(weights)
        self.shapes = {name: value.shape for name, value in weights[0].items()}
        self.num_params = sum(int(np.prod(shape)) for shape in self.shapes.values())
        stacked = [np.stack([w[name] for w in weights]).ravel() for name in self.shapes]
        self.params = torch.as_tensor(np.concatenate(stacked), dtype=dtype, device=device)
        self.grads = torch.zeros_like(self.params)
        self._weights, self._biases = self._views(self.params)
        self._weight_grads, self._bias_grads = self._views(self.grads)
        self._layers: list[Tensor] = []
        self._deltas: list[Tensor] = []
        self._outputs = self.params.new_empty(0)

    def _views(self, flat: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the weights [R, out, in] and biases [R, 1, out] inside a flat buffer."""
        views = list(self.spread_blocks(flat).values())
        return views[0::2], [bias.unsqueeze(1) for bias in views[1::2]]

    def spread_blocks(self, flat: Tensor) -> dict[str, Tensor]:
        """Return the views [R, *shape] of a flat buffer, by parameter name.

        Args:
            flat: A buffer laid out like `params`.

        Returns:
            One view per parameter.
        """
        sizes = [self.num_runs * int(np.prod(shape)) for shape in self.shapes.values()]
        return {
            name: block.view(self.num_runs, *shape)
            for (name, shape), block in zip(self.shapes.items(), flat.split(sizes), strict=True)
        }

    def per_run(self, values: Sequence[float]) -> Tensor:
        """Return a flat buffer that holds, at each parameter, the value of its run.

        Args:
            values: One number per run.

        Returns:
            The buffer, laid out like `params`.
        """
        flat = torch.empty_like(self.params)
        column = flat.new_tensor(values)
        for block in self.spread_blocks(flat).values():
            block.copy_(column.view(-1, *[1] * (block.ndim - 1)).expand_as(block))
        return flat

    def weights(self, run: int) -> dict[str, NDArray]:
        """Return the weights of one run by parameter name.

        Args:
            run: Its position.

        Returns:
            Copies as numpy arrays.
        """
        return {name: block[run].cpu().numpy().copy() for name, block in self.spread_blocks(self.params).items()}

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        """Return the logits of every run.

        Args:
            x: Inputs of each run, shape [R, n, D].

        Returns:
            Shape [R, n, K].
        """
        for weight, bias in zip(self._weights[:-1], self._biases[:-1], strict=True):
            x = _linear(x, weight, bias, relu=True)
        return _linear(x, self._weights[-1], self._biases[-1])

    def _allocate(self, x: Tensor) -> None:
        """Make the buffers of one step; they are used again by every step of the same size."""
        shape = x.shape[:2]
        if (self._outputs.shape[0], self._outputs.shape[-1]) != shape:
            runs, size = shape
            self._layers = [x.new_empty(runs, size, weight.shape[1]) for weight in self._weights[:-1]]
            self._deltas = [torch.empty_like(layer) for layer in self._layers]
            # [R, K, B]: a softmax over the middle axis runs along the long one, 20 times as fast.
            self._outputs = x.new_empty(runs, self._weights[-1].shape[1], size)

    @torch.no_grad()
    def gradient(
        self,
        x: Tensor,
        y: Tensor,
        *,
        mixes: Mapping[int, StateMix] | None = None,
        with_loss: bool = False,
        keep: float = 0.0,
    ) -> Tensor | None:
        """Set `grads` to `keep` times what they hold plus the gradient of each run's mean loss over its batch.

        With `keep` the momentum, `grads` is the direction of SGD, made inside the matrix products.

        Args:
            x: Inputs, shape [R, B, D].
            y: Label rows, shape [R, B, K].
            mixes: Hidden states that are mixed, by number; state k is what comes out of hidden layer k.
            with_loss: Also return the losses, at the weights before any step.
            keep: Factor on the present content of `grads`, >= 0.

        Returns:
            Losses of shape [R], or None.
        """
        self._allocate(x)
        mixes = mixes or {}
        size, last = x.shape[1], len(self._weights) - 1
        inputs, opened = [x], []  # of each layer, a mixed state in place of the state; what left the ReLUs
        for k, buffer in enumerate(self._layers):
            opened.append(_linear(inputs[k], self._weights[k], self._biases[k], relu=True, out=buffer))
            inputs.append(mixes[k + 1].forward(opened[k]) if k + 1 in mixes else opened[k])
        logits = torch.bmm(self._weights[last], inputs[last].mT, out=self._outputs).add_(self._biases[last].mT)

        delta, losses = logits.sub_(y.mT) if self.loss == "squared_error" else None, None
        if delta is None:
            log_p = torch.log_softmax(logits, dim=1)
            losses = -(y.mT * log_p).sum(dim=1).mean(dim=1) if with_loss else None
            delta = torch.exp(log_p, out=self._outputs).sub_(y.mT)
        elif with_loss:
            losses = delta.square().sum(dim=1).mean(dim=1) / 2
        delta = delta.div_(size).mT  # [R, B, K]

        for k in range(last, -1, -1):
            _add_product(self._weight_grads[k], keep, delta.mT, inputs[k])
            self._bias_grads[k].mul_(keep).add_(delta.sum(dim=1, keepdim=True))
            if k:
                below = _linear(delta, self._weights[k].mT, out=self._deltas[k - 1])
                below = mixes[k].backward(below) if k in mixes else below
                # delta where the ReLU was open, 0 elsewhere, in one pass
                delta = torch.ops.aten.threshold_backward.grad_input(below, opened[k - 1], 0, grad_input=below)
        return losses

    @torch.no_grad()
    def finite(self) -> NDArray[np.bool_]:
        """Return which runs are still made of finite numbers.

        Returns:
            Shape [R].
        """
        blocks = self.spread_blocks(self.params).values()
        sums = torch.stack([block.flatten(1).sum(dim=1) for block in blocks])  # a sum tells, and is far cheaper
        return sums.isfinite().all(dim=0).cpu().numpy()


# From about this many operations on, oneDNN's product (16 numbers at a time) is faster than the batched one of the
# BLAS that PyTorch is built with (8 at a time on some processors): measured 1.1 times at 4e6, 1.2 at 6e6, 1.7 at 2e7.
LARGE_PRODUCT = 4e6
_one_dnn: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None


def is_large(x: Tensor, weight: Tensor) -> bool:
    """Return whether the products [n, D] [D, m] of each run are better computed one by one.

    Args:
        x: Shape [R, n, D].
        weight: Shape [R, m, D].

    Returns:
        The answer; it depends on the sizes of one run alone.
    """
    return (
        _one_dnn is not None
        and x.dtype == torch.float32
        and not x.is_cuda
        and 2 * x.shape[1] * x.shape[2] * weight.shape[1] >= LARGE_PRODUCT
    )


def _linear(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, relu: bool = False, out: Tensor | None = None
) -> Tensor:
    """Return x W^T + b of each run, shape [R, n, m], its negative part cut where `relu`; `out` may be used."""
    if is_large(x, weight):
        attribute = "relu" if relu else "none"
        biases = [None] * len(x) if bias is None else bias.squeeze(1)
        results = [_one_dnn(*run, attribute, [], "") for run in zip(x, weight, biases, strict=True)]
        return torch.stack(results, out=out) if len(x) > 1 else results[0].unsqueeze(0)
    result = torch.bmm(x, weight.mT, out=out)
    if bias is not None:
        result.add_(bias)
    return result.clamp_(min=0) if relu else result


def _add_product(total: Tensor, keep: float, left: Tensor, right: Tensor) -> None:
    """Set total [R, m, D] to keep times itself plus left [R, m, B] right [R, B, D]."""
    if is_large(left, right.mT):
        for mine, a, b in zip(total, left, right.mT, strict=True):
            mine.mul_(keep).add_(_one_dnn(a, b, None, "none", [], ""))
    else:
        torch.baddbmm(total, left, right, beta=keep, out=total)
