"""Many MLPs of one shape as one program: stacked weights, batched matrix products, the gradient written by hand.

For an MLP this is the automatic gradient, without its bookkeeping; the tests compare the two. Run r only ever meets
slice r of each array, so a run does not depend on its neighbours, NaN included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["StackedMLP"]


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
        for k, (weight, bias) in enumerate(zip(self._weights, self._biases, strict=True)):
            x = (x.clamp(min=0) if k else x) @ weight.mT + bias
        return x

    def _allocate(self, x: Tensor) -> None:
        """Make the buffers of one step; they are used again by every step of the same size."""
        shape = x.shape[:2]
        if not self._layers or self._layers[0].shape[:2] != shape:
            self._layers = [x.new_empty(*shape, weight.shape[1]) for weight in self._weights]
            self._deltas = [torch.empty_like(layer) for layer in self._layers]

    @torch.no_grad()
    def gradient(self, x: Tensor, y: Tensor, *, with_loss: bool = False) -> Tensor | None:
        """Fill `grads` with the gradient of each run's mean loss over its batch.

        Args:
            x: Inputs, shape [R, B, D].
            y: Label rows, shape [R, B, K].
            with_loss: Also return the losses, at the weights before any step.

        Returns:
            Losses of shape [R], or None.
        """
        self._allocate(x)
        inputs = [x, *self._layers[:-1]]
        for k, (weight, bias) in enumerate(zip(self._weights, self._biases, strict=True)):
            torch.bmm(inputs[k], weight.mT, out=self._layers[k]).add_(bias)
            if k < len(self._weights) - 1:
                self._layers[k].clamp_(min=0)
        logits, delta = self._layers[-1], self._deltas[-1]
        losses = None
        if self.loss == "cross_entropy":
            log_p = torch.log_softmax(logits, dim=2)
            if with_loss:
                losses = -(y * log_p).sum(dim=2).mean(dim=1)
            torch.exp(log_p, out=delta).sub_(y)
        else:
            torch.sub(logits, y, out=delta)
            if with_loss:
                losses = delta.square().sum(dim=2).mean(dim=1) / 2
        delta.div_(x.shape[1])
        for k in range(len(self._weights) - 1, -1, -1):
            torch.bmm(delta.mT, inputs[k], out=self._weight_grads[k])
            torch.sum(delta, dim=1, keepdim=True, out=self._bias_grads[k])
            if k:
                torch.bmm(delta, self._weights[k], out=self._deltas[k - 1])
                # delta where the ReLU was open, 0 elsewhere, in one pass
                torch.ops.aten.threshold_backward.grad_input(
                    self._deltas[k - 1], inputs[k], 0, grad_input=self._deltas[k - 1]
                )
                delta = self._deltas[k - 1]
        return losses

    @torch.no_grad()
    def finite(self) -> NDArray[np.bool_]:
        """Return which runs are still made of finite numbers.

        Returns:
            Shape [R].
        """
        blocks = self.spread_blocks(self.params).values()
        good = torch.stack([block.isfinite().flatten(1).all(dim=1) for block in blocks])
        return good.all(dim=0).cpu().numpy()
