"""The models of a membership attack: who was trained on what, and how confident each is when asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .._checks import check_integer
from .config import RunConfig
from .datasets import Streams, load_dataset, run_index
from .membership import logit_confidence

__all__ = ["memberships", "query_confidences"]

QUERY_ROWS = 1024  # points a network sees at once
Query = tuple[NDArray[np.floating], NDArray]


def memberships(configs: Sequence[RunConfig]) -> NDArray[np.bool_]:
    """Return which training points of the data set each run was trained on; nothing needs to be trained or stored.

    Args:
        configs: Runs of one data set and size, with different seeds.

    Returns:
        Shape [N, n], n the training points of the data set.

    Raises:
        ValueError: If there is no run, the runs differ in data set or size, or two have one seed.

    Example:
        >>> memberships([RunConfig(num_train=400, seed=seed) for seed in range(3)]).sum(axis=1).tolist()
        [400, 400, 400]
    """
    if not configs or len({(c.dataset, c.num_train) for c in configs}) != 1:
        raise ValueError("`configs` must be at least one run, all of one data set and `num_train`, got others.")
    if len({config.seed for config in configs}) != len(configs):
        raise ValueError("`configs` must have different seeds: a seed fixes the training points. Got one twice.")
    data = load_dataset(configs[0].dataset)
    inside = np.zeros((len(configs), len(data.x_train)), dtype=bool)
    for row, config in zip(inside, configs, strict=True):
        row[run_index(config, data, Streams(config.seed))] = True
    return inside


@torch.no_grad()
def query_confidences(
    networks: Iterable[nn.Module], queries: Sequence[Query], *, num_models: int, device: str = "auto"
) -> NDArray[np.float64]:
    """Return the logit-scaled confidence of every network at every query.

    Args:
        networks: The models, one at a time (a generator holds one in memory).
        queries: Inputs [n, ...] with classes [n] or label rows [n, K]; the first is the plain one by convention.
        num_models: How many networks there must be.
        device: Where to evaluate; `auto` takes a GPU where there is one.

    Returns:
        Shape [N, n, Q].

    Raises:
        ValueError: If there is no query, the networks are not as many as stated, or an answer is not finite.

    Example:
        >>> points = (np.ones((3, 2)), np.array([0, 1, 1]))
        >>> query_confidences([nn.Identity()], [points], num_models=1).shape  # logits equal: phi = 0
        (1, 3, 1)
    """
    if not queries:
        raise ValueError("`queries` must hold at least one pair of inputs and labels, got none.")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    inputs: dict[torch.dtype, list[torch.Tensor]] = {}
    answers = []
    for network in networks:
        network = network.to(device).eval()
        dtype = next((parameter.dtype for parameter in network.parameters()), torch.float64)
        if dtype not in inputs:
            inputs[dtype] = [torch.tensor(x, dtype=dtype) for x, _ in queries]
        phi = []
        for x, (_, labels) in zip(inputs[dtype], queries, strict=True):
            logits = torch.cat([network(piece.to(device)).cpu() for piece in x.split(QUERY_ROWS)])
            phi.append(logit_confidence(logits.double().numpy(), labels))
        answers.append(np.stack(phi, axis=-1))
    if len(answers) != check_integer("num_models", num_models, 1):
        raise ValueError(f"`networks` must be as many as `num_models` = {num_models}, got {len(answers)}.")
    return np.stack(answers)
