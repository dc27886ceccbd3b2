"""The record formats of the official files: IDX images and labels, CIFAR-10 binary, Location-30 text."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from .downloads import OFFICIAL_FILES, read_official

__all__ = ["cifar10_records", "fashion_mnist_records", "idx_array", "location30_records"]

Records = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def idx_array(content: bytes) -> NDArray[np.uint8]:
    """Return the bytes of an IDX file in their shape.

    Args:
        content: The file: two zero bytes, type 8 (unsigned byte), number of axes, one big-endian length per axis, data.

    Returns:
        The array.

    Raises:
        ValueError: If it is not such a file.

    Example:
        >>> idx_array(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9])).tolist()
        [7, 9]
    """
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise ValueError(f"`content` must be an IDX file of unsigned bytes, got one that starts with {content[:4]!r}.")
    axes = content[3]
    shape = np.frombuffer(content, ">u4", axes, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def fashion_mnist_records() -> tuple[Records, Records]:
    """Return the official training and test images of Fashion-MNIST.

    Returns:
        Images [n, 1, 28, 28] and labels 0..9 [n]: 60,000 to train, 10,000 to test.
    """
    x_train, y_train, x_test, y_test = (idx_array(read_official(f)) for f in OFFICIAL_FILES["fashion-mnist"])
    return (x_train[:, None], y_train), (x_test[:, None], y_test)


def cifar10_records() -> tuple[Records, Records]:
    """Return the official training and test images of CIFAR-10.

    A record is a label byte and 3,072 bytes: the red, green and blue planes of 32x32.

    Returns:
        Images [n, 3, 32, 32] and labels 0..9 [n]: 50,000 to train, 10,000 to test.
    """
    batches = [np.frombuffer(read_official(f), np.uint8).reshape(-1, 3073) for f in OFFICIAL_FILES["cifar10"]]

    def split(records: NDArray[np.uint8]) -> Records:
        return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]

    return split(np.concatenate(batches[:-1])), split(batches[-1])


def location30_records() -> Records:
    """Return Location-30: which of 446 kinds of place a person in Bangkok checked in at, and one of 30 classes.

    Returns:
        Binary features [5010, 446] and labels 0..29 [5010], in the order of the file.
    """
    (file,) = OFFICIAL_FILES["location30"]
    text = read_official(file).replace(b'"', b"")
    table = np.loadtxt(io.BytesIO(text), dtype=np.uint8, delimiter=",")
    return table[:, 1:], table[:, 0] - 1
