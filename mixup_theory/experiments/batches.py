"""The batches of R runs side by side: gathered and mixed in buffers that every step uses again."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .draws import EpochDraws

__all__ = ["Batches"]


class Batches:
    """Inputs and label rows of one epoch after the other, mixed as the draws say.

    The result is that of `mixing.blend` on each batch; without its temporary arrays, whose memory would be asked of the
    system and given back at every step.
    """

    def __init__(
        self, x: Tensor, rows: Tensor, index: NDArray[np.int64], labels: NDArray[np.int64], batch_size: int
    ) -> None:
        """Take the data and make the buffers.

        Args:
            x: Inputs that all runs share, shape [N, D].
            rows: Label row of each class, shape [K, K]; the unit rows, or smoothed ones.
            index: Training points of each run among the inputs, shape [R, n].
            labels: Label of each of these points, shape [R, n].
            batch_size: Examples B per run and step.
        """
        self.runs, self.size = len(index), batch_size
        self._sources = (x, rows)
        self._places = (index.ravel(), labels.ravel())
        self._mixed = [source.new_empty(self.runs * batch_size, source.shape[1]) for source in self._sources]
        self._other = [torch.empty_like(buffer) for buffer in self._mixed]

    def start_epoch(self, drawn: EpochDraws) -> None:
        """Move the draws of an epoch to the device.

        Args:
            drawn: Draws of all runs, from `draws.stack_draws`.
        """
        x = self._sources[0]
        partner = np.take_along_axis(drawn.position, drawn.partner, axis=1)
        self._first, self._second = (
            [torch.as_tensor(places[position], device=x.device) for places in self._places]
            for position in (drawn.position, partner)
        )
        self._lam = [
            torch.as_tensor(lam, dtype=x.dtype, device=x.device).unsqueeze(2)
            for lam in (drawn.lam_at(0), drawn.label_lam)
        ]

    def mixed(self, step: int) -> tuple[Tensor, Tensor]:
        """Return the mixed batch of one step; the next call overwrites it.

        Args:
            step: Number of the step in the epoch.

        Returns:
            Inputs of shape [R, B, D] and label rows of shape [R, B, K].
        """
        for k, source in enumerate(self._sources):
            own, other = self._mixed[k], self._other[k]
            torch.index_select(source, 0, self._first[k][step], out=own)
            torch.index_select(source, 0, self._second[k][step], out=other)
            torch.lerp(other, own, self._lam[k][step], out=own)  # mixup: lam x_i + (1 - lam) x_j, exact at 0 and 1
        x, y = self._mixed
        return x.view(self.runs, self.size, -1), y.view(self.runs, self.size, -1)
