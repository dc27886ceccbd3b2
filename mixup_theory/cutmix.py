r"""CutMix and other masks: the covariance is multiplied entry by entry, and pixel variances do not shrink at all."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc

from ._checks import as_result, check_alpha, check_array, check_integer, check_interval, check_positive
from .moments import Result
from .weights import lam_cdf, sample_lam

__all__ = [
    "cutmix_agreement",
    "cutmix_boxes",
    "cutmix_circular_cov_factor",
    "label_agreement",
    "majorisation_slack",
    "mask_agreement",
    "mask_agreement_estimate",
    "masked_covariance",
    "sample_cutmix_masks",
]


def mask_agreement(masks: ArrayLike, probabilities: ArrayLike | None = None) -> NDArray[np.float64]:
    r"""Agreement :math:`F_{kl} = E[M_kM_l + (1-M_k)(1-M_l)]` of a law of masks; :math:`P(M_k=M_l)` for binary ones.

    For :math:`\tilde x = M\odot x+(1-M)\odot x'` and independent pairs :math:`\mathrm{Cov}(\tilde x)=F\circ\Sigma`.
    F is positive semidefinite, with ones on the diagonal for binary masks.

    Args:
        masks: The masks of the law, any real values, shape [m, d] (or [m, height, width], read row by row).
        probabilities: Their probabilities, shape [m], summing to 1; equal when None.

    Returns:
        The matrix, shape [d, d].

    Raises:
        ValueError: If the shapes differ or the probabilities do not sum to 1.

    References:
        theory B.8.

    Example:
        >>> mask_agreement([[1, 1], [1, 0]]).tolist()
        [[1.0, 0.5], [0.5, 1.0]]
    """
    m = _flat(masks)
    if probabilities is None:
        weight = np.full(len(m), 1 / len(m))
    else:
        weight = check_positive("probabilities", check_array("probabilities", probabilities, 1), zero=True)
        if weight.shape != (len(m),) or not np.isclose(weight.sum(), 1, rtol=0, atol=1e-9):
            raise ValueError(
                f"`probabilities` must have shape ({len(m)},) and sum to 1, got shape {weight.shape} and sum "
                f"{weight.sum():g}."
            )
    return (m * weight[:, None]).T @ m + ((1 - m) * weight[:, None]).T @ (1 - m)


def mask_agreement_estimate(masks: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Estimate the agreement matrix from sampled masks, with standard errors.

    Unbiased; the standard error of an entry is the sample standard deviation of
    :math:`M_kM_l+(1-M_k)(1-M_l)` over :math:`\sqrt m`.

    Args:
        masks: Independent draws, m >= 2, shape [m, d] or [m, height, width].

    Returns:
        The estimate and its standard error, both of shape [d, d].

    Raises:
        ValueError: If there are fewer than 2 masks.

    References:
        theory B.8.

    Example:
        >>> estimate, standard_error = mask_agreement_estimate([[1, 1], [1, 0], [0, 0], [0, 1]])
        >>> estimate.tolist(), standard_error[0, 1].round(3).item()
        ([[1.0, 0.5], [0.5, 1.0]], 0.289)
    """
    m = _flat(masks)
    if len(m) < 2:
        raise ValueError(f"`masks` must hold at least 2 masks, got {len(m)}.")
    mean = mask_agreement(m)
    # (M_k M_l + (1-M_k)(1-M_l))^2 is a sum of products of a function of M_k and the same one of M_l
    features = (m**2, np.sqrt(2) * m * (1 - m), (1 - m) ** 2)
    square = sum(f.T @ f for f in features) / len(m)
    return mean, np.sqrt(np.maximum(square - mean**2, 0) / (len(m) - 1))


def masked_covariance(covariance: ArrayLike, agreement: ArrayLike) -> NDArray[np.float64]:
    r"""Covariance of masked mixtures, the entrywise product :math:`F\circ\Sigma`.

    Assumptions:
        Independent pairs; the mask is independent of the pair.

    Args:
        covariance: Covariance of one example, shape [d, d].
        agreement: Agreement matrix F of the masks, shape [d, d].

    Returns:
        The covariance, shape [d, d].

    Raises:
        ValueError: If the shapes differ or are not square.

    References:
        theory B.8.

    Example:
        >>> masked_covariance([[2.0, 1.0], [1.0, 2.0]], [[1.0, 0.5], [0.5, 1.0]]).tolist()
        [[2.0, 0.5], [0.5, 2.0]]
    """
    sigma, factor = _pair_of_squares("covariance", covariance, "agreement", agreement)
    return factor * sigma


def label_agreement(agreement: ArrayLike) -> NDArray[np.float64]:
    r"""Factor of the cross-covariance with the label, :math:`E[M_k\lambda_M+(1-M_k)(1-\lambda_M)]` for each entry k.

    When the label weight is the area :math:`\lambda_M=\tfrac1d\sum_lM_l` (CutMix after clipping) this is the mean of
    row k of F, and the label itself scales by the mean of all of F.

    Args:
        agreement: Agreement matrix F of the masks, shape [d, d].

    Returns:
        The factors, shape [d].

    Raises:
        ValueError: If the matrix is not square.

    References:
        theory B.8.

    Example:
        >>> label_agreement([[1.0, 0.5], [0.5, 1.0]]).tolist()
        [0.75, 0.75]
    """
    factor, _ = _pair_of_squares("agreement", agreement, "agreement", agreement)
    return factor.mean(axis=1)


def majorisation_slack(covariance: ArrayLike, mixed: ArrayLike) -> NDArray[np.float64]:
    r"""Partial sums of the sorted eigenvalues of :math:`\Sigma` minus those of the mixed covariance.

    For binary masks all are >= 0 and the last is 0: the spectrum is compressed, the total variance kept
    (F is a correlation matrix; Bapat and Sunder).

    Args:
        covariance: Covariance of the examples, shape [d, d], symmetric.
        mixed: Covariance of the mixed examples, shape [d, d], symmetric.

    Returns:
        The differences for the largest 1, 2, ..., d eigenvalues, shape [d].

    Raises:
        ValueError: If the shapes differ or are not square.

    References:
        theory B.8; Bapat and Sunder 1985.

    Example:
        >>> majorisation_slack([[2.0, 1.0], [1.0, 2.0]], [[2.0, 0.5], [0.5, 2.0]]).round(12).tolist()
        [0.5, 0.0]
    """
    sigma, other = _pair_of_squares("covariance", covariance, "mixed", mixed)
    return np.cumsum(np.linalg.eigvalsh(sigma)[::-1] - np.linalg.eigvalsh(other)[::-1])


def cutmix_agreement(alpha: float, height: int, width: int) -> NDArray[np.float64]:
    r"""Exact agreement matrix of CutMix with its box clipped at the border.

    The box has half sides :math:`\lfloor H\sqrt{1-\lambda}/2\rfloor` and :math:`\lfloor W\sqrt{1-\lambda}/2\rfloor`
    about a uniform pixel, cut off at the border. All boxes are enumerated with their probabilities; given the size,
    rows and columns are independent. Pixels near the border are covered less often than those in the middle.

    Args:
        alpha: Beta concentration in [0, inf]; 0 is the limit alpha -> 0, not boxes of the exact full size.
        height: Image height H in pixels, >= 1.
        width: Image width W in pixels, >= 1.

    Returns:
        The matrix over pixels row by row, shape [H W, H W].

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory B.8; Yun et al. 2019, section 3.1; rand_bbox of the authors' code.

    Example:
        >>> cutmix_agreement(1.0, 4, 4)[0, :3].round(4).tolist()
        [1.0, 0.8125, 0.625]
    """
    a = check_alpha(alpha)
    if a.ndim:
        raise ValueError(f"`alpha` must be one number, got shape {a.shape}. Call once per value.")
    height, width = check_integer("height", height, 1), check_integer("width", width, 1)
    knots = {2 * i / side for side in (height, width) for i in range(side // 2 + 1)}
    edges = np.array(sorted(knots | {0.0, 1.0}))  # of the side ratio r = sqrt(1 - lam), where a half side jumps
    below = np.asarray(lam_cdf(edges**2, a))  # 1 - lam has the law of lam
    below[0], below[-1] = 0.0, 1.0
    agreement = np.ones((height * width, height * width))
    for low, high, probability in zip(edges[:-1], edges[1:], np.diff(below), strict=True):
        middle = (low + high) / 2
        both = np.kron(_covered(height, middle), _covered(width, middle))
        inside = np.diag(both)
        agreement += probability * (2 * both - inside[:, None] - inside[None, :])
    return agreement


def _covered(side: int, ratio: float) -> NDArray[np.float64]:
    """Probability that two positions of one axis both lie in the clipped box, shape [side, side]."""
    half, position = int(side * ratio / 2), np.arange(side)
    inside = (position >= position[:, None] - half) & (position < position[:, None] + half)  # [centre, position]
    return inside.T.astype(float) @ inside / side


def cutmix_boxes(rng: np.random.Generator, area: ArrayLike, height: int, width: int) -> NDArray[np.int64]:
    r"""Draw the boxes of CutMix, cut off at the border.

    Half sides :math:`\lfloor H\sqrt{A}/2\rfloor` and :math:`\lfloor W\sqrt{A}/2\rfloor` about a uniform pixel, A the
    wanted share of the image. The share that a box has in the end is its own area.

    Args:
        rng: Source of randomness: the rows of the centres, then their columns.
        area: Wanted shares :math:`A = 1-\lambda` in [0, 1], shape [n].
        height: Image height in pixels, >= 1.
        width: Image width in pixels, >= 1.

    Returns:
        First row, row after the last, first column, column after the last; shape [n, 4].

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory B.8; Yun et al. 2019, rand_bbox of the authors' code.

    Example:
        >>> cutmix_boxes(np.random.default_rng(0), [0.25], 8, 8).tolist()
        [[4, 8, 3, 7]]
    """
    share = check_interval("area", check_array("area", area, 1), 0, 1)
    edges = []
    for name, side in (("height", height), ("width", width)):
        side = check_integer(name, side, 1)
        half, centre = (side * np.sqrt(share) / 2).astype(int), rng.integers(0, side, len(share))
        edges += [np.maximum(centre - half, 0), np.minimum(centre + half, side)]  # leaving the image clips
    return np.stack(edges, axis=1)


def sample_cutmix_masks(
    rng: np.random.Generator, size: int, alpha: float, height: int, width: int
) -> NDArray[np.bool_]:
    """Draw CutMix masks: True where the first image is kept, False in the box taken from the partner.

    Args:
        rng: Source of randomness: the weights, then the boxes.
        size: Number of masks, >= 1.
        alpha: Beta concentration in [0, inf].
        height: Image height in pixels, >= 1.
        width: Image width in pixels, >= 1.

    Returns:
        The masks, shape [size, height, width]; the mean of each is the weight of the first label.

    Raises:
        ValueError: If an argument is out of range.

    References:
        Yun et al. 2019, section 3.1.

    Example:
        >>> sample_cutmix_masks(np.random.default_rng(0), 2, 1.0, 4, 4).shape
        (2, 4, 4)
    """
    size = check_integer("size", size, 1)
    boxes = cutmix_boxes(rng, sample_lam(rng, size, alpha)[1], height, width)
    top, bottom, left, right = boxes.T[:, :, None]
    row, column = np.arange(height), np.arange(width)
    inside = ((row >= top) & (row < bottom))[:, :, None] & ((column >= left) & (column < right))[:, None, :]
    return ~inside


def cutmix_circular_cov_factor(alpha: ArrayLike, delta: ArrayLike) -> Result:
    r"""Agreement :math:`F(\delta) = 1-2I_\delta(\alpha+1,\alpha)-2\delta\{1-2I_\delta(\alpha,\alpha)\}` on a circle.

    The window is an arc of length Beta(alpha, alpha) at a uniform place: one-dimensional CutMix without a border.

    Args:
        alpha: Beta concentration(s) in [0, inf].
        delta: Distance(s) of two points as a fraction of the circle, in [0, 1/2]; broadcast.

    Returns:
        The probability that both points come from the same image, in [0, 1].

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory B.8.

    Example:
        >>> round(cutmix_circular_cov_factor(1.0, 0.1), 12)
        0.82
    """
    a, d = np.broadcast_arrays(check_alpha(alpha), check_interval("delta", delta, 0, 0.5))
    inside = (a > 0) & np.isfinite(a)
    b = np.where(inside, a, 1.0)
    value = 1 - 2 * betainc(b + 1, b, d) - 2 * d * (1 - 2 * betainc(b, b, d))
    return as_result(np.where(inside, value, np.where(a == 0, 1.0, 1 - 2 * d)))


def _flat(masks: ArrayLike) -> NDArray[np.float64]:
    """Return masks (True and False count as 1 and 0) as rows, shape [m, d]."""
    array = np.asarray(masks)
    array = check_array("masks", array.astype(float) if array.dtype == bool else masks, (2, 3))
    return array.reshape(len(array), -1)


def _pair_of_squares(name: str, value: ArrayLike, other_name: str, other: ArrayLike) -> tuple[NDArray, NDArray]:
    """Return two square matrices of one shape."""
    first, second = check_array(name, value, 2), check_array(other_name, other, 2)
    if first.shape[0] != first.shape[1] or second.shape != first.shape:
        raise ValueError(f"`{other_name}` must be square and of one shape with `{name}`, got {second.shape}.")
    return first, second
