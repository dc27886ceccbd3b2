r"""What manifold mixup before an affine readout can reach: the least loss for any encoder, and why classes collapse."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from ._checks import check_alpha, check_array, check_integer, check_interval
from .moments import shrink_factor
from .quadrature import gauss_rule

__all__ = ["ReadoutOptimum", "cross_entropy_floor", "squared_error_floor"]


@dataclass(frozen=True)
class ReadoutOptimum:
    """The least cross-entropy on mixed hidden states below an affine readout, and the logits that reach it.

    Attributes:
        loss: The floor, in nats.
        logits: The logits that every example of a class has at the optimum, shape [K, K]; rows sum to 0.
    """

    loss: float
    logits: NDArray[np.float64]


def _shares(counts: ArrayLike) -> NDArray[np.float64]:
    """Return the share of each class, all of them present."""
    array = check_array("counts", counts, 1)
    if len(array) < 2 or np.any(array <= 0):
        raise ValueError(f"`counts` must be the sizes > 0 of at least two classes, got {array.tolist()}.")
    return array / array.sum()


def squared_error_floor(counts: ArrayLike, alpha: float, hidden_dim: int) -> float:
    r"""Least squared error of an affine readout on mixed hidden states, for classes of any sizes.

    An affine readout carries a mixture of states to the mixture of its outputs, so that with the residuals
    :math:`r_i=y_i-f(h_i)` and independent pairs

    .. math:: E\|\tilde y-f(\tilde h)\|^2 = s\,E\|r\|^2+(1-s)\,\|E r\|^2 .

    The optimum is that of ERM, times s: mixing before an affine readout changes nothing else. The labels have the
    covariance :math:`\mathrm{diag}(\pi)-\pi\pi^\top` of rank K - 1; h dimensions reach its h largest eigenvalues.

    Assumptions:
        Independent pairs, an encoder that can put every example anywhere.

    Args:
        counts: Size of each class, or its share, shape [K], K >= 2, all > 0.
        alpha: Beta concentration in [0, inf].
        hidden_dim: dim H >= 1.

    Returns:
        The floor; 0 when dim H >= K - 1. Balanced classes: `manifold_construction.least_squared_loss`.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory F.11, B.9.

    Example:
        >>> squared_error_floor([20, 20, 20], 1.0, 1), squared_error_floor([30, 20, 10], 1.0, 2)
        (0.222..., 0.0)
    """
    shares, h = _shares(counts), check_integer("hidden_dim", hidden_dim, 1)
    spectrum = np.linalg.eigvalsh(np.diag(shares) - np.outer(shares, shares))  # ascending; the first is 0
    unreached = spectrum[1 : max(1, len(shares) - h)]
    return float(np.asarray(shrink_factor(check_alpha(alpha))) * unreached.sum())


def cross_entropy_floor(counts: ArrayLike, alpha: float, num_nodes: int = 64) -> ReadoutOptimum:
    r"""Least cross-entropy of an affine readout on mixed hidden states: above the label entropy, and never 0.

    The logits of a mixture are the mixture of the logits, so the loss is convex in the logits of the examples, and it
    does not change when examples of a class are exchanged. Averaging over those exchanges gives an optimum in which
    **every example of a class has the same logits**; strict convexity up to a common shift makes it the only one. So
    the optimum is finite and each class is confined to an affine subspace of dimension dim H - K + 1. Left is

    .. math:: \min_{z_1..z_K}\sum_{a,b}\pi_a\pi_b\,E_\lambda\,\ell_{CE}\bigl(\lambda z_a+(1-\lambda)z_b;\
              \lambda e_a+(1-\lambda)e_b\bigr),

    solved by L-BFGS. ERM has its infimum 0 at infinity, and forces nothing at a finite distance.

    Assumptions:
        Independent pairs, an encoder that can put every example anywhere, dim H >= K - 1.

    Args:
        counts: Size of each class, or its share, shape [K], K >= 2, all > 0.
        alpha: Beta concentration in (0, inf).
        num_nodes: Nodes of the Gauss rule for lam.

    Returns:
        The floor and the logits.

    Raises:
        ValueError: If an argument is out of range; in both limits of alpha the optimum lies at infinity.

    References:
        theory F.11, F.7.

    Example:
        >>> best = cross_entropy_floor([10, 10], 1.0)  # the mixed labels alone have 0.25 nats
        >>> round(best.loss, 4), best.logits.round(3).tolist()
        (0.2739, [[1.771, -1.771], [-1.771, 1.771]])
    """
    shares = _shares(counts)
    check_interval("alpha", alpha, 0, math.inf, closed="neither")
    nodes, weights = gauss_rule(num_nodes, alpha)
    k, eye = len(shares), np.eye(len(shares))
    first, second = (axis.ravel() for axis in np.indices((k, k)))
    lam = nodes[:, None, None]
    labels = lam * eye[first] + (1 - lam) * eye[second]
    mass = weights[:, None] * (shares[first] * shares[second])

    def loss(flat: NDArray) -> tuple[float, NDArray]:
        logits = flat.reshape(k, k)
        log_p = log_softmax(lam * logits[first] + (1 - lam) * logits[second], axis=2)
        delta = mass[..., None] * (np.exp(log_p) - labels)
        own, other = (lam * delta).sum(axis=0), ((1 - lam) * delta).sum(axis=0)
        gradient = eye[first].T @ own + eye[second].T @ other
        return -float((mass[..., None] * labels * log_p).sum()), gradient.ravel()

    start = 2 * (eye - 1 / k)
    found = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-10})
    logits = found.x.reshape(k, k)
    return ReadoutOptimum(float(found.fun), logits - logits.mean(axis=1, keepdims=True))
