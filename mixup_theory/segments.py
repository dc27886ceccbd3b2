r"""A ReLU network along a segment between two inputs is piecewise linear: its exact knots and values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import check_array, check_interval
from .layers import Layer, Network, network_layers

__all__ = ["SegmentPaths", "iter_labelled_paths", "iter_segment_paths", "kinks", "segment_labels", "segment_paths"]

CHUNK_ENTRIES = 1 << 22  # activations held at once (32 MiB); a chunk of segments that would need more is halved


@dataclass(frozen=True)
class SegmentPaths:
    r"""Piecewise-linear functions :math:`F(t)` on [0, 1], one per segment, with knots of their own.

    Stored flat: segment s owns the rows `offsets[s]` to `offsets[s + 1]`. t = 1 is x_i and t = 0 is x_j.

    Attributes:
        knots: Shape [K]; within a segment strictly increasing from 0 to 1.
        values: F at the knots, shape [K, num_outputs]; F is linear between them.
        offsets: Shape [S + 1].
    """

    knots: NDArray[np.float64]
    values: NDArray[np.float64]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def owner(self) -> NDArray[np.int64]:
        """Index of the segment that owns each row, shape [K]."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    @property
    def piece_starts(self) -> NDArray[np.int64]:
        """Rows at which a linear piece starts (every row but the last of a segment)."""
        rows = np.ones(len(self.knots), dtype=bool)
        rows[self.offsets[1:] - 1] = False
        return np.flatnonzero(rows)

    @property
    def ends(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The values at t = 1 (x_i) and at t = 0 (x_j), each of shape [S, num_outputs]."""
        return self.values[self.offsets[1:] - 1], self.values[self.offsets[:-1]]

    def segment(self, index: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Knots [k] and values [k, num_outputs] of one segment."""
        start, stop = self.offsets[index], self.offsets[index + 1]
        return self.knots[start:stop], self.values[start:stop]

    def at(self, t: ArrayLike) -> NDArray[np.float64]:
        """Values at the points t of shape [n] in [0, 1]: shape [S, n, num_outputs]."""
        points = check_interval("t", np.atleast_1d(check_array("t", t, (0, 1))), 0, 1)
        rows = np.stack(
            [np.add.reduceat(self.knots <= point, self.offsets[:-1], dtype=int) for point in points], axis=1
        )
        left = np.minimum(self.offsets[:-1, None] + rows - 1, self.offsets[1:, None] - 2)
        share = ((points - self.knots[left]) / (self.knots[left + 1] - self.knots[left]))[..., None]
        return (1 - share) * self.values[left] + share * self.values[left + 1]


def _inputs(name: str, x: ArrayLike, layers: Sequence[Layer]) -> NDArray[np.float64]:
    """Inputs of shape [S, ...] flattened to [S, d], d the number of inputs of the network."""
    x = x.detach().cpu().double() if hasattr(x, "detach") else x  # a tensor that requires grad has no __array__
    points = np.asarray(x)
    if points.ndim < 2:
        raise ValueError(f"`{name}` must have shape [segments, features], got {points.shape}.")
    if points.size == 0:
        raise ValueError(f"`{name}` must not be empty, got shape {points.shape}.")
    points = check_array(name, points.reshape(len(points), -1), 2)
    if points.shape[1] != layers[0].weight.shape[1]:
        raise ValueError(
            f"`{name}` must have {layers[0].weight.shape[1]} features as the network has inputs, got {points.shape[1]}."
        )
    return points


def iter_segment_paths(network: Network, xi: ArrayLike, xj: ArrayLike, *, slope: float = 0.0) -> Iterator[SegmentPaths]:
    """Yield the paths of consecutive groups of segments, so that memory stays bounded.

    Args:
        network: A ReLU or leaky-ReLU perceptron, see `network_layers`.
        xi: Inputs at t = 1, shape [S, ...] (flattened to [S, d]), numpy or torch.
        xj: Inputs at t = 0, same shape.
        slope: Negative slope of the activations of a list of (W, b).

    Yields:
        Paths of some of the segments, in order; the groups together are all S.

    Raises:
        ValueError: If the network is not piecewise linear or the shapes do not fit.

    Example:
        >>> relu = [([[1.0]], [0.0]), ([[1.0]], [0.0])]
        >>> [len(group) for group in iter_segment_paths(relu, [[1.0], [2.0]], [[-1.0], [3.0]])]
        [2]
    """
    layers = network_layers(network, slope)
    first, second = _inputs("xi", xi, layers), _inputs("xj", xj, layers)
    if first.shape != second.shape:
        raise ValueError(f"`xj` must have the shape of xi, {first.shape}, got {second.shape}.")
    group = max(1, CHUNK_ENTRIES // (2 * first.shape[1]))
    for start in range(0, len(first), group):
        pair = np.stack([second[start : start + group], first[start : start + group]], axis=1)
        owner = np.repeat(np.arange(len(pair)), 2)
        yield from _trace(layers, owner, np.tile([0.0, 1.0], len(pair)), pair.reshape(-1, pair.shape[2]))


def segment_paths(network: Network, xi: ArrayLike, xj: ArrayLike, *, slope: float = 0.0) -> SegmentPaths:
    r"""Exact knots and values of :math:`F(t)=f(t x_i+(1-t)x_j)` for a ReLU network f, many segments at once.

    Layer by layer: pre-activations are linear between the knots so far, so a unit has at most one zero per
    piece, :math:`t_0+(t_1-t_0)z_0/(z_0-z_1)`; these zeros are the only new knots. All hidden zeros are kept, also
    those the output does not feel; `kinks` drops them.

    Args:
        network: A ReLU or leaky-ReLU perceptron, see `network_layers`.
        xi: Inputs at t = 1, shape [S, ...] (flattened to [S, d]), numpy or torch.
        xj: Inputs at t = 0, same shape.
        slope: Negative slope of the activations of a list of (W, b).

    Returns:
        The paths of all S segments. Knots and values are exact up to float64 rounding.

    Raises:
        ValueError: If the network is not piecewise linear (the message names the quadrature to use instead) or
            the shapes do not fit.

    References:
        theory D.4; Hanin and Rolnick 2019.

    Example:
        >>> relu = [([[1.0]], [0.0]), ([[1.0]], [0.0])]
        >>> segment_paths(relu, [[1.0]], [[-1.0]]).segment(0)[0].tolist()
        [0.0, 0.5, 1.0]
    """
    groups = list(iter_segment_paths(network, xi, xj, slope=slope))
    sizes = np.concatenate([np.diff(group.offsets) for group in groups])
    return SegmentPaths(
        np.concatenate([group.knots for group in groups]),
        np.concatenate([group.values for group in groups]),
        np.concatenate([[0], np.cumsum(sizes)]),
    )


def _trace(
    layers: Sequence[Layer], owner: NDArray[np.int64], t: NDArray[np.float64], h: NDArray[np.float64]
) -> Iterator[SegmentPaths]:
    """Carry the knots and activations of some segments through the layers; halve the group when it grows."""
    for depth, layer in enumerate(layers):
        z = h @ layer.weight.T + layer.bias
        if layer.slope == 1:
            h = z
            continue
        above = z > 0
        row, unit = np.nonzero((above[1:] != above[:-1]) & (owner[1:] == owner[:-1])[:, None])
        if (len(t) + len(row)) * z.shape[1] > CHUNK_ENTRIES and owner[0] != owner[-1]:
            cut = int(np.searchsorted(owner, (owner[0] + owner[-1] + 1) // 2))
            yield from _trace(layers[depth:], owner[:cut], t[:cut], h[:cut])
            yield from _trace(layers[depth:], owner[cut:], t[cut:], h[cut:])
            return
        z0 = z[row, unit]
        zero = t[row] + (t[row + 1] - t[row]) * (z0 / (z0 - z[row + 1, unit]))
        inside = (zero > t[row]) & (zero < t[row + 1])  # a zero at a knot, or within rounding of it, adds none
        row, unit, zero = row[inside], unit[inside], zero[inside]
        order = np.lexsort((zero, row))
        row, unit, zero = row[order], unit[order], zero[order]
        fresh = np.ones(len(row), dtype=bool)
        fresh[1:] = (row[1:] != row[:-1]) | (zero[1:] != zero[:-1])
        knot = np.cumsum(fresh) - 1  # the new knot each zero belongs to; several units may share one
        row, zero = row[fresh], zero[fresh]
        at_old = np.arange(len(t)) + np.searchsorted(row, np.arange(len(t)))
        at_new = row + 1 + np.arange(len(row))
        share = ((zero - t[row]) / (t[row + 1] - t[row]))[:, None]
        h = np.empty((len(t) + len(row), z.shape[1]))
        h[at_old] = z
        h[at_new] = (1 - share) * z[row] + share * z[row + 1]
        h[at_new[knot], unit] = 0.0
        if layer.slope == 0:
            np.maximum(h, 0.0, out=h)
        else:
            h[h < 0] *= layer.slope
        owner = np.insert(owner, row + 1, owner[row])
        t = np.insert(t, row + 1, zero)
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    yield SegmentPaths(t, h, np.append(starts, len(t)))


def segment_labels(name: str, label: ArrayLike, num_segments: int, num_outputs: int) -> NDArray[np.float64]:
    """Bring the labels of one end of every segment to the shape of the outputs.

    Args:
        name: Name of the argument, for the error.
        label: A number for every segment, shape [S] for one output, or [S, num_outputs]; numpy or torch.
        num_segments: S.
        num_outputs: Outputs of the network.

    Returns:
        Shape [S, num_outputs], read-only where it was broadcast.

    Raises:
        ValueError: If the shape is another one or an entry is not finite.

    Example:
        >>> segment_labels("yi", [1, 0, 1], 3, 1).shape
        (3, 1)
    """
    label = label.detach().cpu().double() if hasattr(label, "detach") else label
    values = check_array(name, label, (0, 1, 2))
    shape = (num_segments, num_outputs)
    if values.ndim == 1 and num_outputs == 1:
        values = values[:, None]
    if values.ndim == 1 or (values.ndim == 2 and values.shape != shape):
        raise ValueError(
            f"`{name}` must have shape {list(shape)} (segments, outputs), got {list(values.shape)}. "
            "Turn class indices into rows with one_hot."
        )
    return np.broadcast_to(values, shape)


def iter_labelled_paths(
    network: Network, xi: ArrayLike, xj: ArrayLike, yi: ArrayLike, yj: ArrayLike, *, slope: float = 0.0
) -> Iterator[tuple[SegmentPaths, NDArray[np.float64], NDArray[np.float64]]]:
    """Yield `iter_segment_paths` with the label rows at both ends of every group.

    Args:
        network: A ReLU or leaky-ReLU perceptron, see `network_layers`.
        xi: Inputs at t = 1, shape [S, ...].
        xj: Inputs at t = 0, same shape.
        yi: Labels at t = 1, see `segment_labels`.
        yj: Labels at t = 0.
        slope: Negative slope of the activations of a list of (W, b).

    Yields:
        Paths of S' segments, and the labels at t = 1 and at t = 0, each of shape [S', num_outputs].

    Example:
        >>> relu = [([[1.0]], [0.0]), ([[1.0]], [0.0])]
        >>> [(paths, one, zero)] = iter_labelled_paths(relu, [[1.0]], [[-1.0]], 1, 0)
        >>> len(paths), one.item(), zero.item()
        (1, 1.0, 0.0)
    """
    layers = network_layers(network, slope)
    one, zero = (
        segment_labels(name, y, len(xi), len(layers[-1].bias))  # type: ignore[arg-type]
        for name, y in (("yi", yi), ("yj", yj))
    )
    done = 0
    for paths in iter_segment_paths(layers, xi, xj):
        group = slice(done, done + len(paths))
        done += len(paths)
        yield paths, one[group], zero[group]


def kinks(paths: SegmentPaths, tolerance: float = 1e-12) -> list[NDArray[np.float64]]:
    """Interior knots at which the output really changes slope.

    A knot is dropped where the path stays within `tolerance` times its largest value of the straight line from
    the kink before to the knot after: the units that cross zero there are dead downstream.

    Args:
        paths: Paths of S segments.
        tolerance: Relative height below which a bend counts as rounding.

    Returns:
        S arrays of kinks, each increasing inside (0, 1).

    References:
        theory D.4.

    Example:
        >>> dead = [([[1.0], [1.0]], [0.0, -0.5]), ([[1.0, 0.0]], [0.0])]
        >>> kinks(segment_paths(dead, [[1.0]], [[-1.0]]))[0].tolist()
        [0.5]
    """
    found = []
    for index in range(len(paths)):
        t, values = paths.segment(index)
        height = tolerance * np.abs(values).max()
        kept = [0]
        for k in range(1, len(t) - 1):
            share = (t[k] - t[kept[-1]]) / (t[k + 1] - t[kept[-1]])
            line = (1 - share) * values[kept[-1]] + share * values[k + 1]
            if np.abs(values[k] - line).max() > height:
                kept.append(k)
        found.append(t[kept[1:]])
    return found
