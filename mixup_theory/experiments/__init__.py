"""What needs training: a run is described, many are trained together, rows and arrays stay in a cache."""

from __future__ import annotations

from . import _threads as _threads  # first: torch reads it when it is imported
from .config import RunConfig, grid
from .datasets import load_dataset, run_dataset, validation_labels
from .in_process import train
from .networks import hidden_states
from .sweep import load_arrays, load_network, sweep
from .training import RunResult

__all__ = [
    "RunConfig",
    "RunResult",
    "grid",
    "hidden_states",
    "load_arrays",
    "load_dataset",
    "load_network",
    "run_dataset",
    "sweep",
    "train",
    "validation_labels",
]
