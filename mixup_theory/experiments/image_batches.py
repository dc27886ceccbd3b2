"""Batches of images: flipped and moved, then mixed, by one weight for an image or by a box (CutMix)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from .draws import EpochDraws

__all__ = ["ImageBatches", "flip_crop", "keep_masks"]


def flip_crop(images: Tensor, moves: Tensor) -> Tensor:
    """Flip and shift each image; what comes in from outside is 0, the mean of standardised data.

    The shift is the padded random crop of the papers: 4 pixels on images of 32.

    Args:
        images: Shape [n, C, H, W].
        moves: Whether to flip (0 or 1), then the shifts in rows and columns, whole numbers; shape [n, 3].

    Returns:
        Images of the same shape.

    Example:
        >>> flip_crop(torch.tensor([[[[1.0, 2.0, 3.0]]]]), torch.tensor([[1, 0, 1]])).tolist()
        [[[[2.0, 1.0, 0.0]]]]
    """
    n, channels, height, width = images.shape
    reach = int(moves[:, 1:].abs().max())
    padded = functional.pad(images, [reach] * 4)
    flip, down, across = moves.unsqueeze(2).unbind(dim=1)  # each [n, 1]
    row, column = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    rows = row + down + reach
    columns = torch.where(flip == 1, width - 1 - column, column)
    columns = columns + torch.where(flip == 1, -across, across) + reach
    example = torch.arange(n, device=images.device)
    channel = torch.arange(channels, device=images.device)
    return padded[
        example[:, None, None, None], channel[None, :, None, None], rows[:, None, :, None], columns[:, None, None, :]
    ]


def keep_masks(boxes: Tensor, height: int, width: int, dtype: torch.dtype) -> Tensor:
    """Return 0 inside each box and 1 outside.

    Args:
        boxes: First row, row after the last, first column, column after the last; shape [n, 4].
        height: Image height.
        width: Image width.
        dtype: Of the result.

    Returns:
        Shape [n, 1, height, width].

    Example:
        >>> keep_masks(torch.tensor([[0, 1, 1, 3]]), 2, 3, torch.float32).tolist()
        [[[[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]]]
    """
    top, bottom, left, right = boxes.unsqueeze(2).unbind(dim=1)  # each [n, 1]
    row, column = torch.arange(height, device=boxes.device), torch.arange(width, device=boxes.device)
    inside = ((row >= top) & (row < bottom)).unsqueeze(2) & ((column >= left) & (column < right)).unsqueeze(1)
    return (~inside).to(dtype).unsqueeze(1)


class ImageBatches:
    """Inputs and label rows of one epoch after the other, as `batches.Batches` gives them, for images."""

    def __init__(
        self,
        x: Tensor,
        rows: Tensor,
        index: NDArray[np.int64],
        labels: NDArray[np.int64],
        batch_size: int,
        shape: tuple[int, int, int],
    ) -> None:
        """Take the data.

        Args:
            x: Inputs that all runs share, shape [N, C H W].
            rows: Label row of each class, shape [K, K].
            index: Training points of each run among the inputs, shape [R, n].
            labels: Label of each of these points, shape [R, n].
            batch_size: Examples B per run and step.
            shape: Channels, height and width of an image.
        """
        self.runs, self.size, self.shape = len(index), batch_size, shape
        self._x, self._rows = x, rows
        self._places = (index.ravel(), labels.ravel())

    def start_epoch(self, drawn: EpochDraws) -> None:
        """Move the draws of an epoch to the device.

        Args:
            drawn: Draws of all runs, from `draws.stack_draws`.
        """

        def moved(array: NDArray, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.tensor(array, dtype=dtype, device=self._x.device)

        self._points, self._labels = (moved(places[drawn.position]) for places in self._places)
        self._partner = moved(drawn.partner)
        self._lam, self._label_lam = (moved(lam, self._x.dtype) for lam in (drawn.lam_at(0), drawn.label_lam))
        self._boxes = None if drawn.boxes is None else moved(drawn.boxes)
        self._moves = None if drawn.moves is None else moved(drawn.moves)

    def mixed(self, step: int) -> tuple[Tensor, Tensor]:
        """Return the mixed batch of one step.

        Args:
            step: Number of the step in the epoch.

        Returns:
            Inputs of shape [R, B, C H W] and label rows of shape [R, B, K].
        """
        x, y = self._x[self._points[step]].view(-1, *self.shape), self._rows[self._labels[step]]
        if self._moves is not None:
            x = flip_crop(x, self._moves[step])
        weight = self._lam[step].view(-1, 1, 1, 1)
        if self._boxes is not None:
            weight = keep_masks(self._boxes[step], *self.shape[1:], x.dtype)
        partner = self._partner[step]
        x = torch.lerp(x[partner], x, weight)  # mixup or CutMix, exact at weights 0 and 1
        y = torch.lerp(y[partner], y, self._label_lam[step].unsqueeze(1))
        return x.view(self.runs, self.size, -1), y.view(self.runs, self.size, -1)
