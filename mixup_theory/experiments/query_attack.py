"""The attacker who knows of mixup: asks for mixed inputs as well, and weighs answers that depend on one another."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import check_integer
from ..mixing import draw_lam
from .membership import checked_attack, shadow_moments
from .shadow_models import Query

__all__ = ["joint_scores", "mixed_queries"]


def mixed_queries(
    rng: np.random.Generator, x: NDArray[np.floating], labels: ArrayLike, num_classes: int, alpha: float, count: int
) -> list[Query]:
    r"""Return what an attacker who knows of mixup asks besides: each point mixed with another one, labels as well.

    The point keeps the larger weight :math:`\max(\lambda,1-\lambda)`, so that the answer tells of it and not of the
    partner, a random other point of the same pool. All models are asked the same.

    Args:
        rng: Source of randomness.
        x: Points of the pool, shape [n, ...], n >= 2.
        labels: Their classes, shape [n].
        num_classes: K.
        alpha: Concentration of the Beta law of lam, > 0 to mix at all.
        count: Queries per point, >= 1.

    Returns:
        `count` pairs of inputs [n, ...] and label rows [n, K].

    Raises:
        ValueError: If there are fewer than two points, or alpha or the count is out of range.

    Example:
        >>> queries = mixed_queries(np.random.default_rng(0), np.eye(2), [0, 1], 2, alpha=1.0, count=1)
        >>> bool(np.allclose(queries[0][0], queries[0][1])), bool((queries[0][1].diagonal() >= 0.5).all())
        (True, True)
    """
    n = len(x)
    if n < 2:
        raise ValueError(f"`x` must hold at least 2 points, got {n}.")
    rows = np.eye(num_classes)[np.asarray(labels)]
    queries = []
    for _ in range(check_integer("count", count, 1)):
        partner = (np.arange(n) + rng.integers(1, n, n)) % n  # never the point itself
        lam = draw_lam(rng, n, alpha, "sample")
        lam = np.maximum(lam, 1 - lam)
        weight = lam.reshape(-1, *[1] * (x.ndim - 1)).astype(x.dtype)
        mixed = weight * x + (1 - weight) * x[partner]
        queries.append((mixed, lam[:, None] * rows + (1 - lam[:, None]) * rows[partner]))
    return queries


def joint_scores(confidence: ArrayLike, member: ArrayLike, *, num_models: int) -> NDArray[np.float64]:
    r"""Return the online likelihood-ratio score of all queries together, their correlation taken into account.

    Answers about one example rise and fall together, so that adding up their scores counts the same news repeatedly.
    Here shadows with and without the example give two Gaussian laws on the Q answers, with means of its own for each
    example and one covariance matrix for all of them, pooled around those means without the target:
    :math:`\tfrac12(\log|\Sigma_{out}|-\log|\Sigma_{in}|+|\varphi-\mu_{out}|^2_{\Sigma_{out}}-|\varphi-\mu_{in}|^2_{\Sigma_{in}})`.
    With one query it is `likelihood_ratio_scores` with fixed variance.

    Args:
        confidence: Confidence of model m at point i and query q, shape [N, n, Q] or [N, n].
        member: Whether model m was trained on point i, shape [N, n].
        num_models: The number of models stated; N must be that.

    Returns:
        Scores, shape [N, n].

    Raises:
        ValueError: As `shadow_moments`, and if a query repeats what others say (a singular covariance).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> member = rng.random((64, 50)) < 0.5
        >>> both = rng.normal(size=(64, 50, 1)) * 3  # what two queries share says nothing of membership
        >>> phi = both + rng.normal(np.stack([member, -1.0 * member], axis=2))
        >>> scores = joint_scores(phi, member, num_models=64)
        >>> bool(scores[member].mean() > 0 > scores[~member].mean())
        True
    """
    moments = shadow_moments(confidence, member, num_models=num_models)
    phi, inside = checked_attack(confidence, member, num_models)
    log_in = _log_density(phi, moments.mean_in, _pooled_covariance(phi, inside))
    return log_in - _log_density(phi, moments.mean_out, _pooled_covariance(phi, ~inside))


def _pooled_covariance(phi: NDArray[np.float64], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the covariance [N, Q, Q] of the chosen models around each point's own mean, without each target."""
    weight = chosen[:, :, None].astype(float)
    count = weight.sum(axis=0)
    deviation = weight * (phi - (weight * phi).sum(axis=0) / count)
    total = np.einsum("mnq,mnr->qr", deviation, deviation)
    # The target's own part of the squares, as in membership.py.
    share = deviation * np.sqrt(count / np.maximum(count - weight, 1))
    freedom = (count - weight - 1).sum(axis=1)
    return (total - np.einsum("mnq,mnr->mqr", share, share)) / freedom[:, :, None]


def _log_density(
    phi: NDArray[np.float64], mean: NDArray[np.float64], covariance: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the log density [N, n] of each answer, up to a constant."""
    try:
        root = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        raise ValueError("`confidence` must hold no query that repeats others, got a singular covariance.") from None
    standard = np.linalg.solve(root, (phi - mean).transpose(0, 2, 1))
    return -np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)[:, None] - (standard**2).sum(axis=1) / 2
