r"""Mixing a batch: the law of the partner, lam per batch or per sample, inputs and labels with the same of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import check_choice, check_integer
from .laws import AlphaOrLaw, DirichletWeights, as_law

__all__ = [
    "LAM_PER",
    "PARTNERS",
    "Mixed",
    "blend",
    "draw_lam",
    "draw_partner",
    "mix",
    "mix_many",
    "one_hot",
]

PARTNERS = ("independent", "permutation", "derangement", "flip", "roll")
LAM_PER = ("batch", "sample", "pair")


def draw_partner(rng: np.random.Generator, n: int, partner: str = "permutation") -> NDArray[np.int64]:
    """Draw the partner of each of n examples.

    The laws: `independent` (uniform over the n, with replacement), `permutation` (uniform; self pairs have
    probability 1/n: torch.randperm, fastai), `derangement` (uniform without fixed points), `flip`
    (i with n-1-i: timm; n even), `roll` (i with i-1: torchvision).

    Args:
        rng: Source of randomness; `flip` and `roll` draw nothing, they rely on a shuffled batch.
        n: Number of examples, >= 1; >= 2 where self pairs are excluded.
        partner: One of `PARTNERS`.

    Returns:
        Index of each partner, shape [n].

    Raises:
        ValueError: If the law is unknown or cannot be met by n examples.

    References:
        theory A.4.

    Example:
        >>> draw_partner(np.random.default_rng(0), 4, "flip").tolist()
        [3, 2, 1, 0]
    """
    check_choice("partner", partner, PARTNERS)
    n = check_integer("n", n, 2 if partner in ("derangement", "flip", "roll") else 1)
    if partner == "independent":
        return rng.integers(0, n, n)
    if partner == "flip":
        if n % 2:
            raise ValueError(f"`n` must be even for partner 'flip', got {n}. Drop one example or use 'derangement'.")
        return np.arange(n)[::-1].copy()
    if partner == "roll":
        return np.roll(np.arange(n), 1)
    while True:
        index = rng.permutation(n)
        if partner == "permutation" or not np.any(index == np.arange(n)):
            return index


def draw_lam(
    rng: np.random.Generator,
    n: int,
    alpha: AlphaOrLaw,
    lam_per: str = "batch",
    lam_max: bool = False,
) -> NDArray[np.float64]:
    """Draw the weight of each of n examples.

    Args:
        rng: Source of randomness.
        n: Number of examples, >= 1; even for `pair`.
        alpha: Beta concentration in [0, inf], or a law.
        lam_per: `batch` (one weight for all), `sample` (one each), `pair` (one per matched pair i, n-1-i: timm).
        lam_max: Replace lam by max(lam, 1 - lam).

    Returns:
        Weights, shape [n].

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory A.3, A.4.

    Example:
        >>> draw_lam(np.random.default_rng(0), 3, 1.0).round(3).tolist()
        [0.836, 0.836, 0.836]
    """
    check_choice("lam_per", lam_per, LAM_PER)
    n = check_integer("n", n, 1)
    law = as_law(alpha)
    if lam_per == "batch":
        lam = np.full(n, law.sample(rng, 1)[0])
    elif lam_per == "sample":
        lam = law.sample(rng, n)
    else:
        if n % 2:
            raise ValueError(f"`n` must be even for lam_per 'pair', got {n}. Drop one example or use 'sample'.")
        half = law.sample(rng, n // 2)
        lam = np.concatenate([half, half[::-1]])
    return np.maximum(lam, 1 - lam) if lam_max else lam


def blend(x: Any, lam: ArrayLike, partner: ArrayLike) -> Any:
    """Return lam x_i + (1 - lam) x_partner(i): the one line that mixup is.

    Exact at lam = 0 and 1. Works for numpy arrays and torch tensors (on any device) alike.

    Args:
        x: Floating-point examples along the first axis, shape [n, ...].
        lam: One weight, or one per example, shape [n].
        partner: Index of each partner, shape [n].

    Returns:
        Mixed examples of the shape, type and precision of `x`.

    Raises:
        ValueError: If `x` is empty, not float32 or float64, or the lengths differ.

    References:
        Zhang et al. 2018.

    Example:
        >>> blend(np.array([0.0, 1.0]), 0.25, [1, 0]).tolist()
        [0.75, 0.25]
    """
    n = _check_precision(x)
    if not isinstance(x, np.ndarray):
        return _blend_tensors(x, lam, partner)
    index = np.asarray(partner)
    weight = np.broadcast_to(np.asarray(lam, dtype=float), (n,)) if np.ndim(lam) == 0 else np.asarray(lam)
    _check_lengths(n, index, weight)
    w = weight.reshape((n,) + (1,) * (x.ndim - 1)).astype(x.dtype)
    return w * x + (1 - w) * x[index]


def _blend_tensors(x: Any, lam: Any, partner: Any) -> Any:
    """Blend a torch batch on its device; weights and indices that are tensors there already are not copied."""
    import torch  # only when the caller already holds a tensor

    w = lam if isinstance(lam, torch.Tensor) else torch.tensor(np.asarray(lam, dtype=float))
    index = partner if isinstance(partner, torch.Tensor) else torch.tensor(np.asarray(partner))
    n = len(x)
    w = w.to(x).expand(n) if w.ndim == 0 else w.to(x)
    _check_lengths(n, index, w)
    w = w.reshape((n,) + (1,) * (x.ndim - 1))
    return w * x + (1 - w) * x.index_select(0, index.to(x.device))


def _check_lengths(n: int, index: Any, weight: Any) -> None:
    if index.shape != (n,) or weight.shape != (n,):
        raise ValueError(
            f"`partner` and `lam` must have length {n}, got {tuple(index.shape)} and {tuple(weight.shape)}."
        )


def _check_precision(x: Any) -> int:
    """Return the length of a batch that can be mixed without loss."""
    n = _check_batch("x", x)
    if not (str(x.dtype).endswith("float32") or str(x.dtype).endswith("float64")):
        raise ValueError(
            f"`x` must be float32 or float64, got {x.dtype}. Convert it first; labels in whole numbers need "
            "`num_classes`."
        )
    return n


def _check_batch(name: str, x: Any) -> int:
    """Return the length of a non-empty batch."""
    if not hasattr(x, "shape") or not hasattr(x, "dtype"):
        raise ValueError(f"`{name}` must be a numpy array or a torch tensor, got {type(x).__name__}.")
    if len(x.shape) == 0 or x.shape[0] == 0:
        raise ValueError(f"`{name}` must hold at least one example along its first axis, got shape {tuple(x.shape)}.")
    return int(x.shape[0])


def one_hot(y: Any, num_classes: int, like: Any) -> Any:
    """Turn whole-number labels into rows of 0 and 1, of the kind and precision of `like`.

    Args:
        y: Labels 0..K-1, shape [n].
        num_classes: K >= 2.
        like: Array or tensor whose library, precision and device the result takes.

    Returns:
        Rows of shape [n, K].

    Raises:
        ValueError: If a label lies outside 0..K-1 or is no whole number.

    Example:
        >>> one_hot(np.array([1, 0]), 2, np.zeros(1)).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    num_classes = check_integer("num_classes", num_classes, 2)
    _check_batch("y", y)
    labels = np.asarray(y.detach().cpu() if hasattr(y, "detach") else y)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(
            f"`y` must be whole numbers of shape [n], got {labels.dtype} of shape {labels.shape}. "
            "Soft labels are mixed as they are: leave `num_classes` out."
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        wrong = labels[(labels < 0) | (labels >= num_classes)][0]
        raise ValueError(f"`y` must be in 0..{num_classes - 1}, got {wrong}. Is `num_classes` right?")
    rows = np.eye(num_classes)[labels]
    return rows.astype(like.dtype) if isinstance(like, np.ndarray) else like.new_tensor(rows)


@dataclass(frozen=True)
class Mixed:
    """A mixed batch and how it was mixed.

    Attributes:
        x: Mixed inputs, shape [n, ...].
        y: Mixed labels, shape [n, K] (or as given when soft).
        lam: Weights, shape [n].
        partner: Index of each partner, shape [n]. A k-way mix has [n, k] for both.
    """

    x: Any
    y: Any
    lam: NDArray[np.float64]
    partner: NDArray[np.int64]


def _soft_labels(x: Any, y: Any, num_classes: int | None) -> Any:
    """Check labels against inputs; whole numbers become rows of 0 and 1."""
    n, m = _check_batch("x", x), _check_batch("y", y)
    if n != m:
        raise ValueError(f"`x` and `y` must have the same length, got {n} and {m}.")
    if "int" in str(y.dtype) or num_classes is not None:
        if num_classes is None:
            raise ValueError("`num_classes` must be given for whole-number labels, got None.")
        return one_hot(y, num_classes, x)
    return y


def mix(
    x: Any,
    y: Any,
    alpha: AlphaOrLaw,
    rng: np.random.Generator,
    *,
    partner: str = "permutation",
    lam_per: str = "batch",
    lam_max: bool = False,
    num_classes: int | None = None,
) -> Mixed:
    r"""Mix a batch: :math:`\tilde x=\lambda x_i+(1-\lambda)x_j`, :math:`\tilde y` likewise, same partner, same lam.

    Args:
        x: Inputs in float32 or float64, shape [n, ...]; a numpy array or a torch tensor.
        y: Whole-number labels of shape [n] (then `num_classes` is needed) or soft labels or targets [n, ...].
        alpha: Beta concentration in [0, inf], or a law of lam.
        rng: Source of the partner and of lam, in this order.
        partner: Law of the partner, one of `PARTNERS`.
        lam_per: Share lam over the `batch`, draw it per `sample`, or per matched `pair`.
        lam_max: Replace lam by max(lam, 1 - lam).
        num_classes: Number of classes K for whole-number labels.

    Returns:
        The mixed batch.

    Raises:
        ValueError: If lengths differ, the batch is empty, a label is out of range, or `x` is not float32/float64.

    References:
        theory A.4; Zhang et al. 2018.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> batch = mix(np.eye(3), np.array([0, 1, 2]), 1.0, rng, num_classes=3)
        >>> bool(np.allclose(batch.x, batch.y))  # labels fed in as inputs come out equal
        True
    """
    labels = _soft_labels(x, y, num_classes)
    n = int(x.shape[0])
    index = draw_partner(rng, n, partner)
    lam = draw_lam(rng, n, alpha, lam_per, lam_max)
    return Mixed(blend(x, lam, index), blend(labels, lam, index), lam, index)


def mix_many(
    x: Any,
    y: Any,
    alpha: float,
    rng: np.random.Generator,
    *,
    num_mixed: int,
    partner: str = "permutation",
    num_classes: int | None = None,
) -> Mixed:
    r"""Mix k examples at a time with Dirichlet weights: :math:`\tilde x=\sum_l w_l x_{j_l}`, :math:`\tilde y` likewise.

    The first member is the example itself, the others follow the partner law, drawn anew for each.

    Args:
        x: Inputs in float32 or float64, shape [n, ...].
        y: Labels as in `mix`.
        alpha: Dirichlet concentration in [0, inf].
        rng: Source of the partners and the weights, in this order.
        num_mixed: Number k >= 2 of examples mixed.
        partner: One of `PARTNERS` that draws (`flip` and `roll` would repeat the same partner for k > 2).
        num_classes: Number of classes K for whole-number labels.

    Returns:
        The mixed batch; `lam` and `partner` have shape [n, k].

    Raises:
        ValueError: As `mix`, and for `flip` or `roll` with k > 2.

    References:
        theory B.7.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> batch = mix_many(np.eye(3), np.array([0, 1, 2]), 1.0, rng, num_mixed=3, num_classes=3)
        >>> batch.y.sum(axis=1).round(12).tolist()
        [1.0, 1.0, 1.0]
    """
    law = DirichletWeights(alpha, num_mixed)
    if num_mixed > 2 and partner in ("flip", "roll"):
        raise ValueError(f"`partner` must be a random law for num_mixed > 2, got {partner!r}.")
    n, labels = _check_precision(x), _soft_labels(x, y, num_classes)
    columns = [np.arange(n)] + [draw_partner(rng, n, partner) for _ in range(num_mixed - 1)]
    w = law.sample(rng, n)

    def total(z: Any) -> Any:
        """Sum the weighted members: scaling by w is blending with zero."""
        shape = (n,) + (1,) * (len(z.shape) - 1)
        scale = (lambda v: v.astype(z.dtype)) if isinstance(z, np.ndarray) else (lambda v: z.new_tensor(v))
        return sum(scale(w[:, l].reshape(shape)) * z[columns[l]] for l in range(num_mixed))

    return Mixed(total(x), total(labels), w, np.stack(columns, axis=1))
