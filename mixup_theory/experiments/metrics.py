"""How well a network fits its training points, their true labels, its wrong labels, and the test set."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from .calibration import class_wise_error, expected_calibration_error, overconfidence, squared_calibration_error

__all__ = ["METRICS", "example_losses", "run_metrics", "split_metrics"]


def _log_p(logits: NDArray) -> NDArray[np.float64]:
    return log_softmax(np.asarray(logits, dtype=np.float64), axis=1)


def _brier(logits: NDArray, labels: NDArray[np.int64]) -> float:
    return 2 * float(example_losses(np.exp(_log_p(logits)), labels, "squared_error").mean())


def _mass_ece(logits: NDArray, labels: NDArray[np.int64]) -> float:
    return expected_calibration_error(logits, labels, bins="mass")


def _confidence(logits: NDArray, labels: NDArray[np.int64]) -> float:
    return float(np.exp(_log_p(logits).max(axis=1)).mean())


def _entropy(logits: NDArray, labels: NDArray[np.int64]) -> float:
    log_p = _log_p(logits)
    return -float((np.exp(log_p) * log_p).sum(axis=1).mean())


# Further metrics of (logits [n, K], labels [n]), reported where a config asks for them by name. A module that measures
# something else adds its function here, and every notebook can have it as a column.
METRICS: dict[str, Callable[[NDArray, NDArray[np.int64]], float]] = {
    "brier": _brier,  # mean squared distance between the predicted probabilities and the label row
    "confidence": _confidence,  # mean largest predicted probability
    "entropy": _entropy,  # mean entropy of the predicted probabilities, in nats
    "class_ece": class_wise_error,  # calibration error of each class's probability, averaged over classes
    "ece": expected_calibration_error,  # expected calibration error, 15 bins of equal width
    "mass_ece": _mass_ece,  # the same with bins of equal mass
    "overconfidence": overconfidence,  # mean confidence less accuracy
    "squared_ece": squared_calibration_error,  # unbiased square of the calibration error; may be negative
}


def example_losses(logits: NDArray, labels: NDArray[np.int64], loss: str = "cross_entropy") -> NDArray[np.float64]:
    """Return the loss of each example, in float64.

    Args:
        logits: Outputs of the network, shape [n, K].
        labels: Labels 0..K-1, shape [n].
        loss: `cross_entropy`, or `squared_error` (half the squared distance to the label row).

    Returns:
        Losses >= 0, shape [n].

    Example:
        >>> example_losses(np.zeros((1, 4)), np.array([2])).round(6).tolist()  # ln 4
        [1.386294]
    """
    rows = np.arange(len(labels))
    if loss == "cross_entropy":
        return -_log_p(logits)[rows, labels]
    outputs = np.asarray(logits, dtype=np.float64)
    # |z - e_y|^2 = |z|^2 - 2 z_y + 1, without building the rows
    return (np.einsum("nk,nk->n", outputs, outputs) - 2 * outputs[rows, labels] + 1) / 2


def _further(name: str, logits: NDArray, labels: NDArray[np.int64]) -> float:
    """Return a metric of `METRICS`, NaN for a run that has diverged."""
    return METRICS[name](logits, labels) if np.isfinite(logits).all() else float("nan")


def split_metrics(
    split: str, logits: NDArray, labels: NDArray[np.int64], loss: str = "cross_entropy", more: Sequence[str] = ()
) -> dict[str, float]:
    """Return loss, accuracy and the further metrics on one set of points.

    Args:
        split: First part of the names.
        logits: Outputs, shape [n, K].
        labels: Labels, shape [n].
        loss: Training loss.
        more: Names in `METRICS`.

    Returns:
        `<split>_loss`, `<split>_accuracy`, and `<split>_<name>` for each further metric.

    Example:
        >>> split_metrics("validation", np.eye(3), np.array([0, 1, 0]))["validation_accuracy"]
        0.6666666666666666
    """
    row = {
        f"{split}_loss": float(example_losses(logits, labels, loss).mean()),
        f"{split}_accuracy": float((logits.argmax(axis=1) == labels).mean()),
    }
    return row | {f"{split}_{name}": _further(name, logits, labels) for name in more}


def run_metrics(
    train_logits: NDArray,
    given: NDArray[np.int64],
    clean: NDArray[np.int64],
    test_logits: NDArray,
    y_test: NDArray[np.int64],
    loss: str = "cross_entropy",
    more: Sequence[str] = (),
) -> dict[str, float]:
    """Return the metrics of one run.

    Args:
        train_logits: Outputs on the (unmixed) training points, shape [n, K].
        given: Labels the run was given, shape [n].
        clean: True labels of the same points, shape [n].
        test_logits: Outputs on the test set, shape [m, K].
        y_test: Test labels, shape [m].
        loss: Training loss.
        more: Names in `METRICS`.

    Returns:
        `train_loss`, `train_accuracy`: on the labels given. `true_loss`, `true_accuracy`: same points, true labels.
        `right_fit`: accuracy where the label given is right. `wrong_fit`: share of the wrong labels that are
        predicted as given (memorised); `wrong_recovered`: share of them where the true label is predicted; both NaN
        without wrong labels. `test_loss`, `test_accuracy`, `test_error`; `test_nll` (NaN for `squared_error`).
        `train_<name>`, `test_<name>` for each further metric.
        `gap` = train_accuracy - test_accuracy, `loss_gap` = test_loss - train_loss.
    """
    predicted, wrong = train_logits.argmax(axis=1), given != clean
    fits, recovers = predicted == given, predicted == clean
    test_loss = float(example_losses(test_logits, y_test, loss).mean())
    row = {
        "train_loss": float(example_losses(train_logits, given, loss).mean()),
        "train_accuracy": float(fits.mean()),
        "true_loss": float(example_losses(train_logits, clean, loss).mean()),
        "true_accuracy": float(recovers.mean()),
        "right_fit": float(fits[~wrong].mean()) if not wrong.all() else float("nan"),
        "wrong_fit": float(fits[wrong].mean()) if wrong.any() else float("nan"),
        "wrong_recovered": float(recovers[wrong].mean()) if wrong.any() else float("nan"),
        "test_loss": test_loss,
        "test_nll": test_loss if loss == "cross_entropy" else float("nan"),
        "test_accuracy": float((test_logits.argmax(axis=1) == y_test).mean()),
    }
    for name in more:
        row |= {
            f"train_{name}": _further(name, train_logits, given),
            f"test_{name}": _further(name, test_logits, y_test),
        }
    return row | {
        "test_error": 1 - row["test_accuracy"],
        "gap": row["train_accuracy"] - row["test_accuracy"],
        "loss_gap": row["test_loss"] - row["train_loss"],
    }
