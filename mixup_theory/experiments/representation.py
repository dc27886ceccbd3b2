"""What a network makes of a class: spectra of hidden states, separation of classes, what the readout sees of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from .._checks import check_array, check_interval

__all__ = [
    "ReadoutVariance",
    "Separation",
    "as_vectors",
    "class_separation",
    "class_spectra",
    "class_summary",
    "num_directions",
    "participation_ratio",
    "readout_variance",
]


@dataclass(frozen=True)
class Separation:
    r"""How far classes lie apart, measured by their spread.

    Attributes:
        trace_ratio: :math:`\mathrm{tr}\,S_B/\mathrm{tr}\,S_W`; any rotation leaves it as it is.
        fisher: :math:`\mathrm{tr}(S_W^{+}S_B)`, Fisher's criterion; any invertible linear map leaves it as it is.
    """

    trace_ratio: float
    fisher: float


@dataclass(frozen=True)
class ReadoutVariance:
    """The variance of hidden states, split twice: within or between classes, seen by the readout or free.

    Attributes:
        seen_within: Within classes, along directions that change differences of the outputs.
        seen_between: Between class means, along the same directions.
        free_within: Within classes, along all other directions.
        free_between: Between class means, along all other directions.
        free_dimension: Number of the other directions.
    """

    seen_within: float
    seen_between: float
    free_within: float
    free_between: float
    free_dimension: int

    @property
    def seen_share(self) -> float:
        """Share of the seen variance that lies within classes: 0 where every class has one output."""
        return self.seen_within / (self.seen_within + self.seen_between)


def as_vectors(states: Tensor) -> NDArray[np.float64]:
    """Return hidden states as rows: vectors as they are, feature maps averaged over their positions.

    Args:
        states: Shape [n, d], or [n, channels, height, width].

    Returns:
        Shape [n, d] or [n, channels], float64.

    Raises:
        ValueError: If the states are neither.
    """
    if states.ndim not in (2, 4):
        raise ValueError(f"`states` must be of shape [n, d] or [n, channels, height, width], got {list(states.shape)}.")
    rows = states.detach().double()
    return (rows if states.ndim == 2 else rows.mean(dim=(2, 3))).cpu().numpy()


def _states(states: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Return states [n, d], labels [n] and the classes there are, at least one."""
    hidden, given = check_array("states", states, 2), np.asarray(labels)
    if given.shape != (len(hidden),) or given.dtype.kind not in "iu" or not len(given):
        raise ValueError(f"`labels` must be {len(hidden)} whole numbers, one per state, got shape {given.shape}.")
    return hidden, given.astype(np.int64), np.unique(given)


def class_spectra(states: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    r"""Return the singular spectrum of each class: standard deviations along its principal directions.

    Row c holds :math:`\sigma_k(H_c-\mathbb 1\bar h_c^\top)/\sqrt{n_c}`, descending; its squares are the eigenvalues of
    the covariance of the class (divided by :math:`n_c`) and sum to its variance.

    Args:
        states: Hidden states, shape [n, d].
        labels: Whole numbers, shape [n].

    Returns:
        Shape [classes present, d], in the order of the labels.

    Raises:
        ValueError: If the shapes do not fit.

    References:
        Verma et al. 2019, section 4; theory F.11.

    Example:
        >>> class_spectra([[0.0, 3.0], [0.0, -3.0], [5.0, 1.0], [7.0, 1.0]], [0, 0, 1, 1]).tolist()
        [[3.0, 0.0], [1.0, 0.0]]
    """
    hidden, given, classes = _states(states, labels)
    spectra = np.zeros((len(classes), hidden.shape[1]))
    for row, name in zip(spectra, classes, strict=True):
        members = hidden[given == name]
        values = np.linalg.svd(members - members.mean(axis=0), compute_uv=False)
        row[: len(values)] = values / np.sqrt(len(members))
    return spectra


def num_directions(spectrum: ArrayLike, share: float = 0.95) -> NDArray[np.int64]:
    r"""Return how many leading directions carry a share of the variance, :math:`\min\{m:\sum_{k\le m}\sigma_k^2\ge
    \mathrm{share}\sum_k\sigma_k^2\}`.

    Args:
        spectrum: Singular spectra, descending, shape [..., d].
        share: Share of the variance, in (0, 1).

    Returns:
        Counts of shape [...]; 0 where there is no variance.

    Raises:
        ValueError: If `share` is out of range, or a spectrum is negative or not descending.

    Example:
        >>> int(num_directions([3.0, 1.0, 0.0])), int(num_directions([3.0, 1.0, 0.0], 0.9))
        (2, 1)
    """  # noqa: D205
    check_interval("share", share, 0, 1, closed="neither")
    squares = _squares(spectrum)
    reached = np.cumsum(squares, axis=-1)
    total = reached[..., -1:]
    # as many as have not reached it, and one more; the slack forgives the rounding of the sum
    return np.where(total[..., 0] > 0, (reached < share * total * (1 - 1e-12)).sum(axis=-1) + 1, 0)


def participation_ratio(spectrum: ArrayLike) -> NDArray[np.float64]:
    r"""Return the effective number of directions, :math:`(\sum_k\sigma_k^2)^2/\sum_k\sigma_k^4`.

    m equal directions give m; it does not depend on the scale, and varies continuously where `num_directions` jumps.

    Args:
        spectrum: Singular spectra, descending, shape [..., d].

    Returns:
        Numbers in [1, d] of shape [...]; 0 where there is no variance.

    Raises:
        ValueError: If a spectrum is negative or not descending.

    Example:
        >>> participation_ratio([[2.0, 2.0, 2.0], [1.0, 0.0, 0.0]]).tolist()
        [3.0, 1.0]
    """
    squares = _squares(spectrum)
    largest = squares[..., :1]
    shares = np.divide(squares, largest, out=np.zeros_like(squares), where=largest > 0)
    total = (shares**2).sum(axis=-1)
    return np.divide(shares.sum(axis=-1) ** 2, total, out=np.zeros_like(total), where=total > 0)


def _squares(spectrum: ArrayLike) -> NDArray[np.float64]:
    values = check_array("spectrum", spectrum, (1, 2, 3))
    if not values.shape[-1] or np.any(values < 0) or np.any(np.diff(values, axis=-1) > 0):
        raise ValueError("`spectrum` must be singular values >= 0 in descending order, at least one.")
    return values**2


def _scatter(hidden: NDArray, given: NDArray, classes: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the deviations from the class means, and the class means from the overall one, one row per state."""
    means = np.stack([hidden[given == name].mean(axis=0) for name in classes])[np.searchsorted(classes, given)]
    return hidden - means, means - hidden.mean(axis=0)


def class_separation(states: ArrayLike, labels: ArrayLike, rcond: float = 1e-10) -> Separation:
    r"""Return how well classes are separated: between-class scatter :math:`S_B` against within-class scatter.

    :math:`S_W=\frac1n\sum_i(h_i-\bar h_{c_i})(h_i-\bar h_{c_i})^\top`,
    :math:`S_B=\sum_c\frac{n_c}n(\bar h_c-\bar h)(\bar h_c-\bar h)^\top`, and :math:`S_W^+` the pseudo-inverse: units
    that are dead on all states do not count.

    Args:
        states: Hidden states, shape [n, d].
        labels: Whole numbers, shape [n], at least two classes.
        rcond: Directions whose within-class variance is below this share of the largest one are left out of Fisher's
            criterion.

    Returns:
        Both measures.

    Raises:
        ValueError: If the shapes do not fit, there is one class only, or no class has any spread.

    References:
        Fisher 1936; theory B.9 for the scatter of mixed points.

    Example:
        >>> class_separation([[-1.0], [1.0], [9.0], [11.0]], [0, 0, 1, 1])
        Separation(trace_ratio=25.0, fisher=25.0)
    """
    hidden, given, classes = _states(states, labels)
    if len(classes) < 2:
        raise ValueError(f"`labels` must name at least two classes, got {classes.tolist()}.")
    within, between = _scatter(hidden, given, classes)
    if not np.any(within):
        raise ValueError("`states` must vary within a class, got one point per class. The ratio would be infinite.")
    _, values, rows = np.linalg.svd(within, full_matrices=False)
    kept = values**2 > rcond * values[0] ** 2
    fisher = ((between @ rows[kept].T / values[kept]) ** 2).sum()  # tr(S_W^+ S_B) without forming either
    return Separation(float((between**2).sum() / (within**2).sum()), float(fisher))


def class_summary(states: ArrayLike, labels: ArrayLike) -> dict[str, Any]:
    """Return the row of a table: what this module measures of the classes, averaged over them.

    Args:
        states: Hidden states, shape [n, d].
        labels: Whole numbers, shape [n], at least two classes.

    Returns:
        `directions` (for 95 % of the variance), `participation`, `within_variance`, `trace_ratio`, `fisher`, and
        `spectrum`: the share of the variance of a class along its principal directions, shape [d], averaged over the
        classes that vary.

    Raises:
        ValueError: As `class_separation`.

    Example:
        >>> row = class_summary([[-1.0, 0.0], [1.0, 0.0], [9.0, 2.0], [11.0, 2.0]], [0, 0, 1, 1])
        >>> row["directions"], row["participation"], row["within_variance"], row["spectrum"].tolist()
        (1.0, 1.0, 1.0, [1.0, 0.0])
    """
    spectra, separation = class_spectra(states, labels), class_separation(states, labels)
    variance = (spectra**2).sum(axis=1, keepdims=True)
    varies = variance[:, 0] > 0
    return {
        "directions": float(num_directions(spectra).mean()),
        "participation": float(participation_ratio(spectra).mean()),
        "within_variance": float(variance.mean()),
        "trace_ratio": separation.trace_ratio,
        "fisher": separation.fisher,
        "spectrum": (spectra[varies] ** 2 / variance[varies]).mean(axis=0),
    }


def readout_variance(weight: ArrayLike, states: ArrayLike, labels: ArrayLike) -> ReadoutVariance:
    r"""Split the variance of hidden states by what an affine readout :math:`f(h)=Wh+b` sees of it.

    Seen are the directions that change a difference of outputs: the row space of :math:`W-\frac1K\mathbb 1\mathbb
    1^\top W`, of dimension at most K - 1. The optimum of manifold mixup before this readout gives all examples of a
    class one output: nothing within a class is seen, and the class has dim H - K + 1 free directions.

    Args:
        weight: W, shape [K, d].
        states: Hidden states, shape [n, d].
        labels: Whole numbers, shape [n].

    Returns:
        Four variances that sum to the total variance of the states, and the free dimension.

    Raises:
        ValueError: If the shapes do not fit.

    References:
        theory F.11.

    Example:
        >>> states = [[1.0, 5.0], [1.0, -5.0], [-1.0, 0.0], [-1.0, 0.0]]
        >>> readout_variance([[1.0, 0.0], [-1.0, 0.0]], states, [0, 0, 1, 1])
        ReadoutVariance(seen_within=0.0, seen_between=1.0, free_within=12.5, free_between=0.0, free_dimension=1)
    """
    hidden, given, classes = _states(states, labels)
    readout = check_array("weight", weight, 2)
    if readout.shape[1] != hidden.shape[1]:
        raise ValueError(f"`weight` must have {hidden.shape[1]} columns, one per hidden unit, got {readout.shape[1]}.")
    _, values, rows = np.linalg.svd(readout - readout.mean(axis=0), full_matrices=False)
    seen = rows[values > 1e-10 * max(values.max(), np.finfo(float).tiny)]
    n, parts = len(hidden), []
    for rest in _scatter(hidden, given, classes):
        total, along = float((rest**2).sum() / n), float(((rest @ seen.T) ** 2).sum() / n)
        parts.append((along, max(0.0, total - along)))
    (seen_within, free_within), (seen_between, free_between) = parts
    return ReadoutVariance(seen_within, seen_between, free_within, free_between, hidden.shape[1] - len(seen))
