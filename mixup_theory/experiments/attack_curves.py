"""How well an attack tells members from others: ROC, exact AUC, TPR at a small FPR, advantage; one row per target."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from .._checks import check_array, check_interval
from .membership import VARIANCES, likelihood_ratio_scores, offline_scores

__all__ = ["advantage", "all_attacks", "attack_metrics", "roc_auc", "tpr_at_fpr"]


def _split(scores: ArrayLike, member: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return scores and memberships [n] of one target, checked."""
    score, inside = check_array("scores", scores, 1), np.asarray(member)
    if inside.shape != score.shape or inside.dtype != bool:
        raise ValueError(f"`member` must be booleans of shape {score.shape}, got {inside.dtype} {inside.shape}.")
    if inside.all() or not inside.any():
        raise ValueError("`member` must hold members and non-members, got one kind alone.")
    return score, inside


def roc_auc(scores: ArrayLike, member: ArrayLike) -> float:
    """Return the area under the ROC, exactly: the probability that a member scores above a non-member, ties half.

    Args:
        scores: Larger says member, shape [n].
        member: The truth, shape [n].

    Returns:
        A number in [0, 1]; 1/2 is guessing.

    Raises:
        ValueError: If the shapes differ, a score is not finite, or one kind is missing.

    References:
        Mann and Whitney 1947: the rank sum.

    Example:
        >>> roc_auc([3, 2, 2, 1], np.array([True, True, False, False]))
        0.875
    """
    score, inside = _split(scores, member)
    m = int(inside.sum())
    rank_sum = rankdata(score)[inside].sum()
    return float((rank_sum - m * (m + 1) / 2) / (m * (len(score) - m)))


def tpr_at_fpr(scores: ArrayLike, member: ArrayLike, fpr: ArrayLike) -> NDArray[np.float64]:
    """Return the largest share of members found while at most a share `fpr` of the non-members is accused.

    A step of the ROC, no line between its points and no randomised threshold: with n non-members nothing below 1/n is
    resolved, and fpr < 1/n means no accusation that is false.

    Args:
        scores: Larger says member, shape [n].
        member: The truth, shape [n].
        fpr: False positive rates in [0, 1], any shape [...].

    Returns:
        True positive rates, shape [...].

    Raises:
        ValueError: If the shapes differ, a score is not finite, one kind is missing, or a rate is outside [0, 1].

    Example:
        >>> tpr_at_fpr([4, 3, 2, 1], np.array([True, False, True, False]), [0.0, 0.5, 1.0]).tolist()
        [0.5, 1.0, 1.0]
    """
    score, inside = _split(scores, member)
    rates = check_interval("fpr", fpr, 0, 1)
    others = np.sort(score[~inside])[::-1]
    allowed = np.floor(rates * len(others) + 1e-9).astype(int)  # 0.29 * 100 is less than 29
    # The first non-member that may not be accused sets the threshold; equal scores stay below it.
    threshold = np.append(others, -np.inf)[allowed]
    found = np.sort(score[inside])
    return 1 - np.searchsorted(found, threshold, side="right") / len(found)


def advantage(scores: ArrayLike, member: ArrayLike) -> float:
    """Return the largest TPR - FPR over all thresholds: twice the best balanced accuracy, less 1.

    The threshold is the best one for this very target, which no attacker knows: an upper bound, above 0 by chance.

    Args:
        scores: Larger says member, shape [n].
        member: The truth, shape [n].

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: If the shapes differ, a score is not finite, or one kind is missing.

    Example:
        >>> advantage([4, 3, 2, 1], np.array([True, False, True, False]))
        0.5
    """
    score, inside = _split(scores, member)
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True)  # a threshold never splits equal scores
    found, accused = np.cumsum(inside[order])[last], np.cumsum(~inside[order])[last]
    m, others = found[-1], accused[-1]
    return float(max(0, (found * others - accused * m).max()) / (m * others))  # whole numbers: exact


def attack_metrics(scores: ArrayLike, member: ArrayLike) -> pd.DataFrame:
    """Return what an attack achieves on each target model, the unit of every interval.

    Args:
        scores: Larger says member, shape [N, n].
        member: Whether target m was trained on point i, shape [N, n].

    Returns:
        One row per target with `auc`, `tpr_1` (TPR at 1 % FPR), `tpr_01` (at 0.1 %) and `advantage`.

    Raises:
        ValueError: If the shapes differ, a score is not finite, or a target has one kind of points alone.

    Example:
        >>> member = np.array([[True, False, True, False]])
        >>> attack_metrics(member * 1.0, member).iloc[0].to_dict()  # a look-up table
        {'auc': 1.0, 'tpr_1': 1.0, 'tpr_01': 1.0, 'advantage': 1.0}
    """
    rows, inside = check_array("scores", scores, 2), np.asarray(member)
    if inside.shape != rows.shape:
        raise ValueError(f"`member` must have the shape of `scores`, {rows.shape}, got {inside.shape}.")
    table = []
    for score, held in zip(rows, inside, strict=True):
        at_1, at_01 = tpr_at_fpr(score, held, [0.01, 0.001])
        table.append({"auc": roc_auc(score, held), "tpr_1": at_1, "tpr_01": at_01, "advantage": advantage(score, held)})
    return pd.DataFrame(table)


def all_attacks(confidence: ArrayLike, member: ArrayLike, *, num_models: int) -> pd.DataFrame:
    """Return what every attack achieves on every target: the loss threshold, and LiRA offline and online.

    Args:
        confidence: Logit-scaled confidence of model m at point i (at query q), shape [N, n] or [N, n, Q]. The loss
            threshold takes the first query: it has no shadow models to combine others by.
        member: Whether model m was trained on point i, shape [N, n].
        num_models: The number of models stated; N must be that.

    Returns:
        One row per attack and target: `attack`, `target` (0..N-1) and the columns of `attack_metrics`.

    Raises:
        ValueError: As `shadow_moments`.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> member = rng.random((32, 40)) < 0.5
        >>> table = all_attacks(rng.normal(np.linspace(-5, 5, 40) + 2.0 * member), member, num_models=32)
        >>> table.groupby("attack", sort=False)["auc"].mean().round(2).to_dict()
        {'loss threshold': 0.65, 'offline, fixed': 0.91, ..., 'online, per-example': 0.9}
    """
    scores = {
        f"{name}, {variance}": attack(confidence, member, num_models=num_models, variance=variance)
        for name, attack in (("offline", offline_scores), ("online", likelihood_ratio_scores))
        for variance in VARIANCES
    }
    phi = check_array("confidence", confidence, (2, 3))
    threshold = phi if phi.ndim == 2 else phi[:, :, 0]
    tables = {name: attack_metrics(score, member) for name, score in {"loss threshold": threshold, **scores}.items()}
    return pd.concat(tables, names=["attack", "target"]).reset_index()
