"""Membership inference: was this example trained on? Loss threshold, and likelihood-ratio attacks with shadow models.

Every model is the target once, with all others as its shadows (leave one out), in numpy, for all points at once.
Scores are arrays [N models, n points]; a larger score says member.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax, logsumexp, xlogy

from .._checks import check_array, check_choice, check_integer

__all__ = [
    "VARIANCES",
    "ShadowMoments",
    "attackable_points",
    "checked_attack",
    "gaussian_log_ratio",
    "likelihood_ratio_scores",
    "logit_confidence",
    "offline_scores",
    "shadow_moments",
]

VARIANCES = ("fixed", "per-example")
TINY = np.finfo(float).tiny


def logit_confidence(logits: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    r"""Return the logit-scaled confidence of each example, nearly Gaussian over models where the loss is far from it.

    For a class label :math:`\varphi=\log p_y-\log(1-p_y)=z_y-\log\sum_{k\ne y}e^{z_k}`, exact where
    :math:`p_y` rounds to 1. For a mixed label :math:`y`, a row of probabilities, :math:`p_y` is replaced by
    :math:`e^{-\mathrm{KL}(y\|p)}`: :math:`\varphi=-\log(e^{\mathrm{KL}}-1)`, the same number where the row is one-hot.

    Args:
        logits: Outputs of a network, shape [..., K], K >= 2.
        labels: Classes 0..K-1, shape [...]; or label rows that sum to 1, shape [..., K].

    Returns:
        Confidences in float64, shape [...]; larger is a smaller loss.

    Raises:
        ValueError: If the shapes do not fit, a number is not finite, or a label is no class or no probability.

    References:
        Carlini et al. 2022, section VI (memory).

    Example:
        >>> logit_confidence([[40.0, 0.0, 0.0]], [0]).round(6).tolist()  # 40 - ln 2; 1 - p rounds to 0 here
        [39.306853]
    """
    z = check_array("logits", logits, tuple(range(1, 6)))
    num_classes = z.shape[-1]
    if num_classes < 2:
        raise ValueError(f"`logits` must have at least 2 classes, got shape {z.shape}.")
    given = np.asarray(labels)
    if given.shape == z.shape and given.dtype.kind == "f":
        return _soft_confidence(z, check_array("labels", given, z.ndim))
    if given.shape != z.shape[:-1] or given.dtype.kind not in "iu":
        raise ValueError(f"`labels` must be whole numbers of shape {z.shape[:-1]}, got shape {given.shape}.")
    if given.size and (given.min() < 0 or given.max() >= num_classes):
        raise ValueError(f"`labels` must be in 0..{num_classes - 1}, got {given.min()}..{given.max()}.")
    chosen = np.arange(num_classes) == given[..., None]
    return z[chosen].reshape(given.shape) - logsumexp(np.where(chosen, -np.inf, z), axis=-1)


def _soft_confidence(z: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    if np.any(rows < 0) or np.any(np.abs(rows.sum(axis=-1) - 1) > 1e-6):
        raise ValueError("`labels` must be rows of probabilities that sum to 1, got others.")
    divergence = (xlogy(rows, rows) - rows * log_softmax(z, axis=-1)).sum(axis=-1)
    certain = rows.max(axis=-1) == 1
    hard = logit_confidence(z[certain], rows[certain].argmax(axis=-1)) if certain.any() else np.empty(0)
    kl = np.maximum(divergence, TINY)
    # log(e^k - 1) = k + log(1 - e^-k): no overflow for large k
    phi = -(kl + np.log(-np.expm1(-kl)))
    phi[certain] = hard
    return phi


class ShadowMoments(NamedTuple):
    """What the shadow models of each target say of each point; every array of shape [N, n, Q].

    Attributes:
        mean_in: Mean confidence of the shadows trained on the point.
        std_in: Their standard deviation.
        mean_out: Mean confidence of the shadows not trained on it.
        std_out: Their standard deviation.
    """

    mean_in: NDArray[np.float64]
    std_in: NDArray[np.float64]
    mean_out: NDArray[np.float64]
    std_out: NDArray[np.float64]


def attackable_points(member: ArrayLike, minimum: int = 2) -> NDArray[np.bool_]:
    """Return which points have enough shadows of both kinds whichever model is the target.

    Args:
        member: Whether model m was trained on point i, shape [N, n].
        minimum: Models with and models without the point that must remain once the target is left out.

    Returns:
        Shape [n].

    Raises:
        ValueError: If `member` is not a boolean array with two axes.

    Example:
        >>> attackable_points(np.array([[1, 1], [1, 0], [0, 0], [0, 0]], bool), minimum=1).tolist()
        [True, False]
    """
    inside = _members(member)
    count = inside.sum(axis=0)
    enough = check_integer("minimum", minimum, 1) + 1
    return (count >= enough) & (len(inside) - count >= enough)


def shadow_moments(
    confidence: ArrayLike, member: ArrayLike, *, num_models: int, variance: str = "fixed"
) -> ShadowMoments:
    r"""Return mean and spread of the confidence of each point over the shadows that hold it and those that do not.

    The target itself is never among its shadows. Spread with `variance="per-example"`: the standard deviation of that
    point's shadows (n - 1 in the denominator). With "fixed": one number per target, the root of the pooled variance
    :math:`\sum_i S_i/\sum_i(n_i-1)` of all points around their own means, steadier where shadows are few.

    Args:
        confidence: Confidence of model m at point i (at query q), shape [N, n] or [N, n, Q].
        member: Whether model m was trained on point i, shape [N, n].
        num_models: The number of models that is stated beside the result; N must be that.
        variance: One of `VARIANCES`.

    Returns:
        The moments, one per target, point and query (Q = 1 for confidences without that axis).

    Raises:
        ValueError: If N is not `num_models`, shapes differ, or a point has fewer than 2 shadows of either kind.

    Example:
        >>> phi = np.array([[5.0], [7.0], [1.0], [3.0], [6.0], [2.0]])
        >>> inside = np.array([[1], [1], [0], [0], [1], [0]], bool)
        >>> moments = shadow_moments(phi, inside, num_models=6)
        >>> moments.mean_in[:, 0, 0].tolist()  # the first target is left with 7 and 6
        [6.5, 5.5, 6.0, 6.0, 6.0, 6.0]
    """
    check_choice("variance", variance, VARIANCES)
    phi, inside = checked_attack(confidence, member, num_models)
    few = int((~attackable_points(inside)).sum())
    if few:
        raise ValueError(
            f"`member` must leave every point 2 shadow models with it and 2 without it, got {few} points with fewer. "
            "Train more models, or keep attackable_points(member)."
        )
    mean_in, std_in = _left_out(phi, inside, variance)
    mean_out, std_out = _left_out(phi, ~inside, variance)
    return ShadowMoments(mean_in, std_in, mean_out, std_out)


def _left_out(
    phi: NDArray[np.float64], chosen: NDArray[np.bool_], variance: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and spread [N, n, Q] over the chosen models, for each model as target without itself."""
    weight = chosen[:, :, None].astype(float)
    count = weight.sum(axis=0)
    mean = (weight * phi).sum(axis=0) / count
    deviation = weight * (phi - mean)  # around the mean of all: no cancellation of large squares
    squares = (deviation**2).sum(axis=0)
    # One of c models, at distance d from their mean, leaves: the mean moves by d / (c - 1), S falls by d^2 c / (c - 1).
    rest = np.maximum(count - weight, 1)
    mean_left = mean - deviation / rest
    squares_left = squares - deviation**2 * count / rest
    freedom = count - weight - 1
    if variance == "fixed":
        squares_left = squares_left.sum(axis=1, keepdims=True)
        freedom = freedom.sum(axis=1, keepdims=True)
    std = np.sqrt(np.maximum(squares_left, 0) / freedom)
    return mean_left, np.broadcast_to(std, phi.shape)


def gaussian_log_ratio(
    x: ArrayLike, mean_in: ArrayLike, std_in: ArrayLike, mean_out: ArrayLike, std_out: ArrayLike
) -> NDArray[np.float64]:
    r"""Return the optimal score between two Gaussians, the log ratio of their densities.

    :math:`\log N(x;\mu_{in},\sigma_{in}^2)-\log N(x;\mu_{out},\sigma_{out}^2)`.

    Args:
        x: Confidences.
        mean_in: Mean of a member.
        std_in: Standard deviation of a member; raised to 1e-12 where smaller.
        mean_out: Mean of a non-member.
        std_out: Standard deviation of a non-member; raised to 1e-12 where smaller.

    Returns:
        The log ratio, of the common shape.

    References:
        Neyman-Pearson; Carlini et al. 2022, algorithm 1 (memory).

    Example:
        >>> gaussian_log_ratio([0.5, 1.0], 1.0, 1.0, 0.0, 1.0).tolist()
        [0.0, 0.5]
    """
    value = np.asarray(x, dtype=float)
    s_in, s_out = np.maximum(std_in, 1e-12), np.maximum(std_out, 1e-12)
    z_in, z_out = (value - mean_in) / s_in, (value - mean_out) / s_out
    return np.log(s_out) - np.log(s_in) + (z_out**2 - z_in**2) / 2


def likelihood_ratio_scores(
    confidence: ArrayLike, member: ArrayLike, *, num_models: int, variance: str = "fixed"
) -> NDArray[np.float64]:
    """Return the online likelihood-ratio score (LiRA) of each point under each target model.

    The shadows trained on the point and those that were not give two Gaussians; the score is the log ratio of their
    densities at the target's confidence, summed over the queries (taken as independent).

    Args:
        confidence: Confidence of model m at point i (at query q), shape [N, n] or [N, n, Q].
        member: Whether model m was trained on point i, shape [N, n].
        num_models: The number of models stated; N must be that.
        variance: One of `VARIANCES`.

    Returns:
        Scores, shape [N, n].

    Raises:
        ValueError: As `shadow_moments`.

    References:
        Carlini et al. 2022, *Membership inference attacks from first principles* (memory).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> member = rng.random((64, 50)) < 0.5
        >>> scores = likelihood_ratio_scores(rng.normal(member * 4.0), member, num_models=64)
        >>> bool(scores[member].mean() > 0 > scores[~member].mean())
        True
    """
    moments = shadow_moments(confidence, member, num_models=num_models, variance=variance)
    phi, _ = checked_attack(confidence, member, num_models)
    return gaussian_log_ratio(phi, *moments).sum(axis=2)


def offline_scores(
    confidence: ArrayLike, member: ArrayLike, *, num_models: int, variance: str = "fixed"
) -> NDArray[np.float64]:
    r"""Return the offline likelihood-ratio score: how far the confidence lies above that of shadows without the point.

    The attacker trains no model on the point; the score is :math:`(\varphi-\mu_{out})/\sigma_{out}`, in the order of
    the one-sided p-value that Carlini et al. use, without its rounding to 1; averaged over the queries.

    Args:
        confidence: Confidence of model m at point i (at query q), shape [N, n] or [N, n, Q].
        member: Whether model m was trained on point i, shape [N, n].
        num_models: The number of models stated; N must be that.
        variance: One of `VARIANCES`.

    Returns:
        Scores, shape [N, n].

    Raises:
        ValueError: As `shadow_moments`.

    Example:
        >>> member = np.array([[1], [1], [0], [0], [1], [0]], bool)
        >>> scores = offline_scores(np.array([[5.0], [7], [1], [3], [6], [2]]), member, num_models=6)
        >>> scores[0].round(6).tolist()  # (5 - 2) / 1
        [3.0]
    """
    moments = shadow_moments(confidence, member, num_models=num_models, variance=variance)
    phi, _ = checked_attack(confidence, member, num_models)
    return ((phi - moments.mean_out) / np.maximum(moments.std_out, 1e-12)).mean(axis=2)


def _members(member: ArrayLike) -> NDArray[np.bool_]:
    inside = np.asarray(member)
    if inside.ndim != 2 or inside.dtype != bool or inside.size == 0:
        raise ValueError(f"`member` must be a boolean array [N, n], got {inside.dtype} of shape {inside.shape}.")
    return inside


def checked_attack(
    confidence: ArrayLike, member: ArrayLike, num_models: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return confidences and memberships, checked against each other and against the number stated.

    Args:
        confidence: Shape [N, n] or [N, n, Q].
        member: Shape [N, n].
        num_models: The number of models stated.

    Returns:
        Confidences [N, n, Q] in float64 and memberships [N, n].

    Raises:
        ValueError: If the shapes do not fit, a number is not finite, or N is not `num_models`.

    Example:
        >>> checked_attack(np.zeros((3, 2)), np.ones((3, 2), bool), 3)[0].shape
        (3, 2, 1)
    """
    phi, inside = check_array("confidence", confidence, (2, 3)), _members(member)
    if phi.shape[:2] != inside.shape:
        raise ValueError(f"`member` must have the shape of `confidence`, {phi.shape[:2]}, got {inside.shape}.")
    if len(phi) != check_integer("num_models", num_models, 1):
        raise ValueError(
            f"`num_models` must be the number of models trained, {len(phi)}, got {num_models}. "
            "Train as many as are stated, or state as many as were trained."
        )
    return phi.reshape(*inside.shape, -1), inside
