r"""Test-time transform of mixup-trained networks: inputs shrunk to where they were trained, outputs scaled back."""

from __future__ import annotations

import os

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from .._checks import check_array
from ..weights import expected_max_lam
from .config import RunConfig
from .datasets import run_dataset
from .in_process import resolve_device
from .sweep import load_network

__all__ = ["rescaled_logits", "shrunk_inputs", "shrunk_test_logits"]


def shrunk_inputs(x: ArrayLike, centre: ArrayLike, alpha: float) -> NDArray[np.float64]:
    r"""Inputs drawn towards the training mean, :math:`\bar x+\bar\vartheta(x-\bar x)`.

    The factor is :math:`\bar\vartheta=E\max(\lambda,1-\lambda)`. A mixed input is such a shrunk one plus noise of mean
    zero: this is where a mixup-trained network has learnt.

    Args:
        x: Inputs, shape [n, ...].
        centre: Mean of the training inputs, shape [...].
        alpha: Beta concentration in [0, inf] of the training.

    Returns:
        The inputs to evaluate, shape [n, ...].

    Raises:
        ValueError: If shapes do not fit, or `alpha` is out of range.

    References:
        theory E.1; Carratino et al. 2022.

    Example:
        >>> shrunk_inputs([[1.0], [5.0]], [1.0], 1.0).tolist()  # 1 + 3/4 (x - 1)
        [[1.0], [4.0]]
    """
    points = np.asarray(x, dtype=np.float64)
    mean = check_array("centre", centre, points.ndim - 1)
    if mean.shape != points.shape[1:]:
        raise ValueError(f"`centre` must have the shape of an input, {points.shape[1:]}, got {mean.shape}.")
    return mean + float(expected_max_lam(alpha)) * (points - mean)


def rescaled_logits(logits: ArrayLike, mean_label: ArrayLike, alpha: float) -> NDArray[np.float64]:
    r"""Outputs drawn away from the mean label, :math:`(f-(1-\bar\vartheta)\bar y)/\bar\vartheta`.

    Undoes the shrinkage of the labels; on logits, as the public ImageNet implementation has it. With balanced classes
    the mean label moves all logits alike, and the transform is the temperature :math:`\bar\vartheta\le1`: a more
    confident network.

    Args:
        logits: Outputs on shrunk inputs, shape [n, K].
        mean_label: Mean label row of the training points, shape [K].
        alpha: Beta concentration in [0, inf] of the training.

    Returns:
        Logits, shape [n, K].

    Raises:
        ValueError: If shapes do not fit, or `alpha` is out of range.

    References:
        theory E.1; Carratino et al. 2022.

    Example:
        >>> rescaled_logits([[3.0, 0.0]], [0.5, 0.5], 1.0).round(6).tolist()  # (f - 1/8) / (3/4)
        [[3.833333, -0.166667]]
    """
    outputs, mean = check_array("logits", logits, 2), check_array("mean_label", mean_label, 1)
    if len(mean) != outputs.shape[1]:
        raise ValueError(f"`mean_label` must have {outputs.shape[1]} entries, one per class, got {len(mean)}.")
    share = float(expected_max_lam(alpha))
    return (outputs - (1 - share) * mean) / share


@torch.no_grad()
def shrunk_test_logits(
    config: RunConfig, cache_dir: str | os.PathLike[str] | None = None, *, device: str = "auto"
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the test logits of a stored run at its shrunk test inputs, and the same with its outputs scaled back.

    Args:
        config: A run with a constant alpha, swept with `weights` among its outputs.
        cache_dir: The folder given to `sweep`.
        device: Where the network is evaluated, as in `sweep`.

    Returns:
        Logits at shrunk inputs and logits of the whole transform, each of shape [n, K].

    Raises:
        ValueError: If `alpha` is a schedule.
        KeyError: If the run is not in the cache, or was stored without weights.
    """
    if not isinstance(config.alpha, float):
        raise ValueError(f"`alpha` must be constant over the training, got {config.alpha}.")
    where, dtype = resolve_device(device), getattr(torch, config.dtype)
    data, network = run_dataset(config), load_network(config, cache_dir).to(where).eval()
    x = shrunk_inputs(data.x_test, data.x_train.mean(axis=0, dtype=np.float64), config.alpha)
    x = x.reshape(len(x), -1) if config.network == "mlp" else x
    pieces = [network(torch.as_tensor(x[i : i + 1000], dtype=dtype, device=where)) for i in range(0, len(x), 1000)]
    logits = torch.cat(pieces).double().cpu().numpy()
    mean_label = np.bincount(data.y_train, minlength=data.num_classes) / len(data.y_train)
    return logits, rescaled_logits(logits, mean_label, config.alpha)
