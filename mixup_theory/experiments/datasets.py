"""The data sets: a fixed split, standardised by training statistics, and the part of it that one run sees."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..progress import report_dataset
from .config import RunConfig
from .records import cifar10_records, fashion_mnist_records, location30_records
from .synthetic import synthetic_points

__all__ = [
    "DATASETS",
    "Dataset",
    "Streams",
    "load_dataset",
    "run_dataset",
    "run_index",
    "run_labels",
    "validation_index",
    "validation_labels",
]


@dataclass(frozen=True, eq=False)  # compared by identity, so that its tensors can be kept
class Dataset:
    """A data set as it is trained on.

    Attributes:
        name: Its name in `RunConfig`.
        x_train: Standardised training inputs, float, shape [n, ...].
        y_train: Training labels as given to the network (some wrong under label noise), shape [n].
        y_clean: The true training labels, shape [n].
        x_test: Standardised test inputs, shape [m, ...].
        y_test: Test labels, shape [m].
        num_classes: K.
        checksum: SHA-256 of the raw content, split and order included.
    """

    name: str
    x_train: NDArray[np.floating]
    y_train: NDArray[np.int64]
    y_clean: NDArray[np.int64]
    x_test: NDArray[np.floating]
    y_test: NDArray[np.int64]
    num_classes: int
    checksum: str


class Streams:
    """The generators of one run, each spawned from its seed, so that no choice disturbs another.

    Runs with one seed share the subset, the wrong labels, the first weights and the order of the data,
    whatever their method: comparisons over seeds are paired.

    Attributes:
        subset: Chooses the training points.
        noise: Chooses the wrong labels.
        init: Draws the first weights.
        order: Shuffles each epoch.
        mixing: Draws partners and lam.
        labels: Draws which of two labels a mixed example takes, where it takes one.
        layers: Draws the hidden state that is mixed.
        moves: Draws flips and crops.
    """

    def __init__(self, seed: int) -> None:
        children = np.random.SeedSequence(seed).spawn(8)  # a new stream goes last: the others keep their draws
        generators = map(np.random.default_rng, children)
        self.subset, self.noise, self.init, self.order, self.mixing, self.labels, self.layers, self.moves = generators


def _checksum(*parts: NDArray) -> str:
    """SHA-256 of arrays, their types and shapes included."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part.dtype.str}{part.shape}".encode())
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def _standardised(
    name: str,
    x_train: NDArray,
    y_train: NDArray,
    x_test: NDArray,
    y_test: NDArray,
    num_classes: int,
    axes: tuple[int, ...],
) -> Dataset:
    """Scale by the mean and standard deviation of the training inputs over the given axes."""
    checksum = _checksum(x_train, y_train, x_test, y_test)
    mean = x_train.mean(axis=axes, keepdims=True, dtype=np.float64)
    std = x_train.std(axis=axes, keepdims=True, dtype=np.float64)
    std = np.where(std > 0, std, 1.0)
    labels = y_train.astype(np.int64)
    # float32 for the large sets: their pixels have 8 bits, and float64 would take a gigabyte
    dtype = np.float64 if x_train.size < 10**7 else np.float32
    mean, std = mean.astype(dtype), std.astype(dtype)
    return Dataset(
        name,
        (x_train - mean) / std,
        labels,
        labels,
        (x_test - mean) / std,
        y_test.astype(np.int64),
        num_classes,
        checksum,
    )


def _digits() -> Dataset:
    """1,797 real 8x8 images bundled with scikit-learn: 1,297 to train, 500 to test, one fixed split."""
    from sklearn.datasets import load_digits  # slow to import, and only needed here

    bunch = load_digits()
    x, y = bunch.data.astype(np.uint8), bunch.target.astype(np.uint8)
    order = np.random.default_rng(1797).permutation(len(x))  # one number for all: no run's seed enters
    train, test = order[:1297], order[1297:]
    return _standardised("digits", x[train], y[train], x[test], y[test], 10, axes=(0, 1))


def _fashion_mnist() -> Dataset:
    """The official 60,000 and 10,000 images; one mean and one standard deviation."""
    (x_train, y_train), (x_test, y_test) = fashion_mnist_records()
    return _standardised("fashion-mnist", x_train, y_train, x_test, y_test, 10, axes=(0, 1, 2, 3))


def _cifar10() -> Dataset:
    """The official 50,000 and 10,000 images; a mean and a standard deviation for each colour."""
    (x_train, y_train), (x_test, y_test) = cifar10_records()
    return _standardised("cifar10", x_train, y_train, x_test, y_test, 10, axes=(0, 2, 3))


def _location30() -> Dataset:
    """5,010 binary vectors without an official split: 3,510 to train, 1,500 to test, one fixed split."""
    x, y = location30_records()
    order = np.random.default_rng(5010).permutation(len(x))
    train, test = order[:3510], order[3510:]
    return _standardised("location30", x[train], y[train], x[test], y[test], 30, axes=(0, 1))


def _synthetic(name: str) -> Dataset:
    """Points in their own coordinates: the theory's radii and distances are not to be rescaled."""
    (x_train, y_train), (x_test, y_test) = synthetic_points(name)
    checksum = _checksum(x_train, y_train, x_test, y_test)
    return Dataset(name, x_train, y_train, y_train, x_test, y_test, 2, checksum)


DATASETS: dict[str, Callable[[], Dataset]] = {
    "digits": _digits,
    "fashion-mnist": _fashion_mnist,
    "cifar10": _cifar10,
    "location30": _location30,
    "circles": lambda: _synthetic("circles"),
    "circles-laplace": lambda: _synthetic("circles-laplace"),
    "gaussian-mixture": lambda: _synthetic("gaussian-mixture"),
    "gaussian-line": lambda: _synthetic("gaussian-line"),
}


@lru_cache(maxsize=4)
def load_dataset(name: str) -> Dataset:
    """Return a data set with its fixed split and clean labels.

    Args:
        name: One of `DATASETS`.

    Returns:
        The data set; its arrays are shared and read-only.

    Raises:
        ValueError: If the name is unknown.

    Example:
        >>> load_dataset("digits").x_train.shape
        (1297, 64)
    """
    if name not in DATASETS:
        raise ValueError(f"`name` must be one of {', '.join(DATASETS)}; got {name!r}.")
    data = DATASETS[name]()
    for array in (data.x_train, data.y_train, data.x_test, data.y_test):
        array.flags.writeable = False
    report_dataset(name, data.checksum)
    return data


def validation_index(config: RunConfig, data: Dataset) -> NDArray[np.int64]:
    """Return the validation points: the first `num_validation` of one permutation, whatever the run and its seed.

    Args:
        config: The run; `dataset` and `num_validation` count.
        data: Its data set.

    Returns:
        Indices into `data.x_train`, shape [num_validation]; nested in `num_validation`.

    Raises:
        ValueError: If no training point would be left.
    """
    total = len(data.x_train)
    if config.num_validation >= total:
        raise ValueError(f"`num_validation` must be below {total} for {config.dataset}, got {config.num_validation}.")
    return np.random.default_rng(total).permutation(total)[: config.num_validation]


def validation_labels(config: RunConfig) -> NDArray[np.int64]:
    """Return the true labels of the validation points, in the order of the output `validation_logits`.

    Args:
        config: The run; `dataset` and `num_validation` count.

    Returns:
        Labels, shape [num_validation].

    Example:
        >>> validation_labels(RunConfig(num_validation=100)).shape
        (100,)
    """
    data = load_dataset(config.dataset)
    return data.y_clean[validation_index(config, data)]


def run_index(config: RunConfig, data: Dataset, streams: Streams) -> NDArray[np.int64]:
    """Return which training points the run sees: the first `num_train` of a permutation drawn once.

    The validation points are left out before. Subsets of one seed are nested in `num_train`.

    Args:
        config: The run.
        data: Its data set.
        streams: Its generators; the subset stream is used.

    Returns:
        Indices into `data.x_train`, shape [num_train].

    Raises:
        ValueError: If the run asks for more points than there are.
    """
    pool = np.delete(np.arange(len(data.x_train)), validation_index(config, data))
    total = len(pool)
    if config.num_train is not None and config.num_train > total:
        raise ValueError(
            f"`num_train` must be at most {total} for {config.dataset}, got {config.num_train}. None takes all."
        )
    return pool[streams.subset.permutation(total)[: config.num_train]]


def run_labels(config: RunConfig, y_clean: NDArray[np.int64], num_classes: int, streams: Streams) -> NDArray[np.int64]:
    """Return the labels the run is given: a share `label_noise` of them moved to another class, uniformly.

    The number of wrong labels is round(label_noise n), exactly, and sets of one seed are nested in the share.

    Args:
        config: The run.
        y_clean: True labels of its training points, shape [n].
        num_classes: K.
        streams: Its generators; the noise stream is used.

    Returns:
        Labels, shape [n].
    """
    n = len(y_clean)
    order, shift = streams.noise.permutation(n), streams.noise.integers(1, num_classes, n)
    wrong = order[: round(config.label_noise * n)]
    y = y_clean.copy()
    y[wrong] = (y_clean[wrong] + shift[wrong]) % num_classes
    return y


def run_dataset(config: RunConfig) -> Dataset:
    """Return the data set as one run sees it: its training points, its labels.

    Args:
        config: The run.

    Returns:
        The data set; `y_train` differs from `y_clean` where the run was given a wrong label.

    Example:
        >>> data = run_dataset(RunConfig(num_train=100, label_noise=0.2))
        >>> len(data.x_train), int((data.y_train != data.y_clean).sum())
        (100, 20)
    """
    data, streams = load_dataset(config.dataset), Streams(config.seed)
    index = run_index(config, data, streams)
    clean = data.y_clean[index]
    given = run_labels(config, clean, data.num_classes, streams)
    return replace(data, x_train=data.x_train[index], y_train=given, y_clean=clean)
