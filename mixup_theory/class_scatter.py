r"""What mixing does to classes: scatter within and between them, for soft, sampled, and conditioned labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import check_array
from .laws import AlphaOrLaw, as_law

__all__ = [
    "ClassMoments",
    "class_moments",
    "class_pair_covariance",
    "hard_label_class_moments",
    "hard_label_joint_covariance",
    "hard_label_scatter",
    "same_class_covariance",
    "soft_label_scatter",
]

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class ClassMoments:
    r"""Means and covariances of a labelled set, overall and by class (divisor: the number of examples).

    Attributes:
        labels: The distinct labels in ascending order, shape [K].
        share: Share of each class, shape [K], summing to 1.
        mean: Overall mean, shape [d].
        means: Class means, shape [K, d].
        covariances: Class covariances, shape [K, d, d].
    """

    labels: NDArray
    share: NDArray[np.float64]
    mean: NDArray[np.float64]
    means: NDArray[np.float64]
    covariances: NDArray[np.float64]

    @property
    def within(self) -> Matrix:
        r"""Within-class scatter W, the average class covariance, shape [d, d]."""
        return np.einsum("k,kpq->pq", self.share, self.covariances)

    @property
    def between(self) -> Matrix:
        r"""Between-class scatter B, the covariance of the class means, shape [d, d]."""
        centred = self.means - self.mean
        return np.einsum("k,kp,kq->pq", self.share, centred, centred)

    @property
    def total(self) -> Matrix:
        r"""Total covariance W + B, shape [d, d]."""
        return self.within + self.between


def class_moments(x: ArrayLike, y: ArrayLike) -> ClassMoments:
    """Measure a labelled set.

    Args:
        x: Examples, shape [n] or [n, d].
        y: Labels, whole numbers of shape [n].

    Returns:
        Means and covariances, overall and by class.

    Raises:
        ValueError: If the lengths differ or a label is no whole number.

    Example:
        >>> moments = class_moments([0.0, 2.0, 5.0, 5.0], [0, 0, 1, 1])
        >>> moments.within.item(), moments.between.item()
        (0.5, 4.0)
    """
    array, labels = check_array("x", x, (1, 2)), check_array("y", y, 1)
    if len(array) != len(labels):
        raise ValueError(f"`x` and `y` must have the same length, got {len(array)} and {len(labels)}.")
    if np.any(labels != np.rint(labels)):
        raise ValueError(f"`y` must be whole numbers, got {labels[labels != np.rint(labels)][0]:g}.")
    array = array.reshape(len(array), -1)
    names, index = np.unique(labels.astype(int), return_inverse=True)
    groups = [array[index == k] for k in range(len(names))]
    means = np.array([group.mean(axis=0) for group in groups])
    centred = [group - mean for group, mean in zip(groups, means, strict=True)]
    covariances = np.array([e.T @ e / len(e) for e in centred])
    share = np.array([len(group) for group in groups]) / len(array)
    return ClassMoments(names, share, array.mean(axis=0), means, covariances)


def _scatters(within: ArrayLike, between: ArrayLike) -> tuple[Matrix, Matrix]:
    """Check W and B: square matrices of one shape, or scalars for one-dimensional x."""
    w, b = (np.atleast_2d(check_array(name, v, (0, 2))) for name, v in (("within", within), ("between", between)))
    if w.shape != b.shape or w.shape[0] != w.shape[1]:
        raise ValueError(f"`within` and `between` must be square and of one shape, got {w.shape} and {b.shape}.")
    return w, b


def _hard_label_law(alpha: AlphaOrLaw) -> Any:
    """Return a law of lam that can be the probability of a label."""
    law = as_law(alpha)
    if not float(law.mean_p) >= 0:
        raise ValueError(f"`alpha` must be a law of lam on [0, 1], got {law}: lam is the chance of the first label.")
    return law


def soft_label_scatter(within: ArrayLike, between: ArrayLike, alpha: AlphaOrLaw) -> tuple[Matrix, Matrix]:
    r"""Scatter conditional on the soft label: :math:`E\,\mathrm{Cov}(\tilde x|\tilde y)=sW`, between it :math:`sB`.

    Both shrink by the same s, so their ratio is unchanged.

    Assumptions:
        Independent pairs, one-hot labels, lam independent of the pair.

    Args:
        within: Within-class scatter W, shape [d, d] (or a number for d = 1).
        between: Between-class scatter B, likewise.
        alpha: Beta concentration in [0, inf], or a law of lam.

    Returns:
        The scatter within and between soft labels, both of shape [d, d].

    Raises:
        ValueError: If the shapes differ or `alpha` is out of range.

    References:
        theory B.9.

    Example:
        >>> [round(m.item(), 6) for m in soft_label_scatter(3.0, 6.0, 1.0)]
        [2.0, 4.0]
    """
    w, b = _scatters(within, between)
    s = float(as_law(alpha).shrink_factor)
    return s * w, s * b


def hard_label_scatter(within: ArrayLike, between: ArrayLike, alpha: AlphaOrLaw) -> tuple[Matrix, Matrix]:
    r"""Class scatter after mixup with sampled hard labels: within :math:`sW+s(1-s)B`, between :math:`s^2B`.

    The label is that of the first member with probability lam, else of the second; class means contract to the
    overall mean by s.

    Assumptions:
        Independent pairs, lam in [0, 1] independent of the pair.

    Args:
        within: Within-class scatter W, shape [d, d] (or a number for d = 1).
        between: Between-class scatter B, likewise.
        alpha: Beta concentration in [0, inf], or a law of lam on [0, 1].

    Returns:
        The scatter within and between sampled labels, both of shape [d, d]; they sum to :math:`s(W+B)`.

    Raises:
        ValueError: If the shapes differ or `alpha` is out of range.

    References:
        theory B.9.

    Example:
        >>> [round(m.item(), 6) for m in hard_label_scatter(3.0, 9.0, 1.0)]
        [4.0, 4.0]
    """
    w, b = _scatters(within, between)
    law = _hard_label_law(alpha)
    s = float(law.shrink_factor)
    return s * w + s * 2 * float(law.mean_p) * b, s**2 * b


def hard_label_class_moments(moments: ClassMoments, alpha: AlphaOrLaw) -> ClassMoments:
    r"""Mean and covariance of every class after mixup with sampled hard labels.

    Means :math:`\mu+s(\mu_c-\mu)`, covariances
    :math:`E[\Lambda^2]\Sigma_c + E[p]\,\Sigma + \mathrm{Var}\Lambda\,(\mu_c-\mu)(\mu_c-\mu)^\top`, with Lambda the
    weight of the member that gave its label: :math:`E\Lambda=s`, :math:`E\Lambda^2=E[\lambda^3+(1-\lambda)^3]`.
    For Beta(alpha, alpha) the three factors are :math:`\tfrac{\alpha+2}{2(2\alpha+1)}`,
    :math:`\tfrac{\alpha}{2(2\alpha+1)}`, :math:`\tfrac{\alpha}{2(2\alpha+1)^2}`. Class shares do not change.

    Assumptions:
        Independent pairs, lam in [0, 1] independent of the pair.

    Args:
        moments: The classes before mixing.
        alpha: Beta concentration in [0, inf], or a law of lam on [0, 1].

    Returns:
        The classes after mixing.

    Raises:
        ValueError: If `alpha` is out of range.

    References:
        theory B.9, A.6.

    Example:
        >>> mixed = hard_label_class_moments(class_moments([0.0, 2.0, 5.0, 5.0], [0, 0, 1, 1]), 1.0)
        >>> mixed.means.round(6).ravel().tolist()
        [1.666667, 4.333333]
    """
    law = _hard_label_law(alpha)
    s, p = float(law.shrink_factor), float(law.mean_p)
    square = float(law.moment(3)) + float(law.moment(0, 3))  # 1 - 3p on average
    centred = moments.means - moments.mean
    # Var Lambda = E Lambda^2 - s^2 = E p - 4 (E p)^2, as E Lambda^2 = 1 - 3 E p: no cancellation for small alpha
    outer = p * (1 - 4 * p) * np.einsum("kp,kq->kpq", centred, centred)
    covariances = square * moments.covariances + p * moments.total + outer
    return ClassMoments(moments.labels, moments.share, moments.mean, moments.mean + s * centred, covariances)


def hard_label_joint_covariance(
    covariance_x: ArrayLike, cross_covariance: ArrayLike, covariance_y: ArrayLike, alpha: AlphaOrLaw
) -> tuple[Matrix, Matrix, Matrix]:
    r"""Joint covariance with sampled hard labels: :math:`s\Sigma_{xx}`, :math:`s\Sigma_{xy}`, :math:`\Sigma_{yy}`.

    The inputs and the cross-covariance shrink as with soft labels; the covariance of the label does not shrink.

    Assumptions:
        Independent pairs, lam in [0, 1] independent of the pair.

    Args:
        covariance_x: Covariance of the inputs, shape [d, d].
        cross_covariance: Covariance of inputs and labels, shape [d, K].
        covariance_y: Covariance of the one-hot labels, shape [K, K].
        alpha: Beta concentration in [0, inf], or a law of lam on [0, 1].

    Returns:
        The three blocks, of the shapes given.

    Raises:
        ValueError: If the shapes do not fit or `alpha` is out of range.

    References:
        theory B.9.

    Example:
        >>> [round(m.item(), 6) for m in hard_label_joint_covariance([[3.0]], [[1.5]], [[1.0]], 1.0)]
        [2.0, 1.0, 1.0]
    """
    xx, xy = check_array("covariance_x", covariance_x, 2), check_array("cross_covariance", cross_covariance, 2)
    yy = check_array("covariance_y", covariance_y, 2)
    d, k = xy.shape
    if xx.shape != (d, d) or yy.shape != (k, k):
        raise ValueError(
            f"`covariance_x` and `covariance_y` must have shapes {(d, d)} and {(k, k)}, got {xx.shape} and {yy.shape}."
        )
    s = float(_hard_label_law(alpha).shrink_factor)
    return s * xx, s * xy, yy


def class_pair_covariance(moments: ClassMoments, first: int, second: int, alpha: AlphaOrLaw) -> Matrix:
    r"""Covariance of mixed examples of one ordered pair of classes, lam averaged out.

    :math:`E[\lambda^2]\Sigma_c+E[(1-\lambda)^2]\Sigma_{c'}+\mathrm{Var}\lambda\,(\mu_c-\mu_{c'})(\mu_c-\mu_{c'})^\top`.

    Assumptions:
        Members drawn independently, one from each class.

    Args:
        moments: The classes before mixing.
        first: Label of the member with weight lam.
        second: Label of the member with weight 1 - lam.
        alpha: Beta concentration in [0, inf], or a law of lam.

    Returns:
        The covariance, shape [d, d].

    Raises:
        ValueError: If a label is unknown or `alpha` is out of range.

    References:
        theory B.9.

    Example:
        >>> moments = class_moments([0.0, 2.0, 5.0, 5.0], [0, 0, 1, 1])
        >>> round(class_pair_covariance(moments, 0, 1, 1.0).item(), 6)  # 1/3 + 16/12
        1.666667
    """
    law = as_law(alpha)
    index = []
    for name, label in (("first", first), ("second", second)):
        found = np.flatnonzero(moments.labels == label)
        if not len(found):
            raise ValueError(f"`{name}` must be one of the labels {moments.labels.tolist()}, got {label!r}.")
        index.append(int(found[0]))
    i, j = index
    gap = moments.means[i] - moments.means[j]
    own, other = float(law.moment(2)), float(law.moment(0, 2))
    return own * moments.covariances[i] + other * moments.covariances[j] + float(law.variance) * np.outer(gap, gap)


def same_class_covariance(within: ArrayLike, between: ArrayLike, alpha: AlphaOrLaw) -> Matrix:
    r"""Covariance when partners are drawn from the same class: :math:`sW+B`; the class means do not move.

    Assumptions:
        Given the class of the first member, its partner is an independent draw from that class.

    Args:
        within: Within-class scatter W, shape [d, d] (or a number for d = 1).
        between: Between-class scatter B, likewise.
        alpha: Beta concentration in [0, inf], or a law of lam.

    Returns:
        The covariance, shape [d, d].

    Raises:
        ValueError: If the shapes differ or `alpha` is out of range.

    References:
        theory B.9.

    Example:
        >>> same_class_covariance(3.0, 6.0, 1.0).item()
        8.0
    """
    w, b = _scatters(within, between)
    return float(as_law(alpha).shrink_factor) * w + b
