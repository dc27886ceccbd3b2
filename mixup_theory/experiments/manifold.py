r"""Manifold mixup: a hidden state is mixed in place of the input, forwards and, by hand, backwards.

Each batch draws one state of a stated set; :math:`\tilde h_i = \lambda_i h_i + (1-\lambda_i) h_{j(i)}`, and the labels
are mixed with the same weights and partners. The gradient flows to both partners (Verma et al. 2019, section 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .draws import EpochDraws

__all__ = ["StateMix", "StateMixes"]


@dataclass(frozen=True)
class StateMix:
    """How one hidden state of R runs is mixed in one batch.

    Attributes:
        lam: Weight of each example, 1 where a run mixes another state, shape [R B].
        partner: Row of each partner among all R B, shape [R B].
    """

    lam: Tensor
    partner: Tensor

    def one_run(self, run: int, num_runs: int) -> StateMix:
        """Return the part that mixes one of R runs.

        Args:
            run: Its position.
            num_runs: R.

        Returns:
            The mix of its B examples.
        """
        size = len(self.lam) // num_runs
        own = slice(run * size, (run + 1) * size)
        return StateMix(self.lam[own], self.partner[own] - run * size)

    def forward(self, state: Tensor) -> Tensor:
        """Return the mixed state; exact at weights 0 and 1. Differentiable by autograd.

        Args:
            state: Shape [R, B, ...] or, for one run, [B, ...].

        Returns:
            A new tensor of the same shape.
        """
        rows = state if state.ndim == 4 else state.reshape(len(self.lam), -1)  # images keep their layout
        weight = self.lam.to(rows.dtype).view(-1, *[1] * (rows.ndim - 1))
        return torch.lerp(rows[self.partner], rows, weight).view(state.shape)

    def backward(self, delta: Tensor) -> Tensor:
        r"""Return the gradient by the state: :math:`\lambda_i\delta_i+\sum_{k:\,j(k)=i}(1-\lambda_k)\delta_k`.

        Args:
            delta: Gradient by the mixed state, shape [R, B, width].

        Returns:
            A new tensor of the same shape.

        Example:
            >>> mix = StateMix(torch.tensor([0.75, 1.0]), torch.tensor([1, 1]))
            >>> mix.backward(torch.tensor([[[4.0], [2.0]]])).tolist()
            [[[3.0], [3.0]]]
        """
        rows, weight = delta.reshape(len(self.lam), -1), self.lam.to(delta.dtype).unsqueeze(1)
        own, passed = rows * weight, rows * (1 - weight)
        if own.is_cuda:  # index_add_ would sum in another order each time, where partners repeat
            return own.index_put_((self.partner,), passed, accumulate=True).view(delta.shape)
        return own.index_add_(0, self.partner, passed).view(delta.shape)


class StateMixes:
    """The hidden states mixed in each batch of one epoch."""

    def __init__(self, drawn: EpochDraws, dtype: torch.dtype, device: str = "cpu") -> None:
        """Move to the device what the epoch needs.

        Args:
            drawn: Draws of all runs, from `draws.stack_draws`.
            dtype: Precision of the weights.
            device: Where the runs are trained.
        """
        self._layer = drawn.layer
        states: Sequence[int] = [int(state) for state in np.unique(drawn.layer) if state]
        self._lam = {k: torch.tensor(drawn.lam_at(k), dtype=dtype, device=device) for k in states}
        self._partner = torch.tensor(drawn.partner, device=device) if states else None

    def at(self, step: int) -> dict[int, StateMix]:
        """Return how hidden states are mixed in one batch.

        Args:
            step: Number of the step in the epoch.

        Returns:
            One entry per state that a run mixes, by its number; none where only inputs are mixed.
        """
        if self._partner is None:
            return {}
        states = sorted({int(state) for state in self._layer[step] if state})
        return {k: StateMix(self._lam[k][step], self._partner[step]) for k in states}
