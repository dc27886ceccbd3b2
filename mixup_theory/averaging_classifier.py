r"""The averaging classifier: mixup multiplies its logit by s, which calibrates where the model is over-confident."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, roots_legendre

from ._checks import as_result, check_array, check_positive
from .derivation import Derivation, Step
from .moments import Result, shrink_factor

__all__ = [
    "averaging_ece",
    "calibrating_alpha",
    "derive_calibrating_alpha",
    "derive_logit_multiplier",
    "logit_multiplier",
    "mixup_average",
    "true_logit_ratio",
]


def mixup_average(x: ArrayLike, y: ArrayLike, alpha: ArrayLike) -> NDArray[np.float64]:
    r"""Expected averaging classifier on mixed pairs, :math:`s\hat\theta+(1-s)\bar y\bar x`.

    The plain one is :math:`\hat\theta=\frac1n\sum_iy_ix_i`. For balanced data mixup multiplies it by exactly s.

    Assumptions:
        Pairs with replacement, inputs and labels mixed alike.

    Args:
        x: Inputs, shape [n, d].
        y: Labels -1 and 1, shape [n].
        alpha: Beta concentration(s) in [0, inf].

    Returns:
        The weights, shape of `alpha` plus [d].

    Raises:
        ValueError: If shapes disagree, a label is neither -1 nor 1, or `alpha` is out of range.

    References:
        theory F.10.

    Example:
        >>> mixup_average([[1.0], [-3.0]], [1, -1], [0.0, 1.0]).ravel().round(6).tolist()
        [2.0, 1.333333]
    """
    x, y = check_array("x", x, 2), check_array("y", y, 1)
    if len(x) != len(y) or not np.all(np.abs(y) == 1):
        raise ValueError(
            f"`y` must hold one label -1 or 1 per row of x, got {len(y)} for {len(x)} rows: {np.unique(y)}."
        )
    s = np.asarray(shrink_factor(alpha))[..., None]
    return s * (y @ x / len(y)) + (1 - s) * y.mean() * x.mean(axis=0)


def logit_multiplier(alpha: ArrayLike) -> Result:
    r"""Factor :math:`s(\alpha)` by which mixup multiplies the averaging classifier's logit; its temperature is 1/s.

    Assumptions:
        Balanced classes.

    Args:
        alpha: Beta concentration(s) in [0, inf].

    Returns:
        The factor, in [1/2, 1].

    Raises:
        ValueError: If `alpha` is not a number >= 0.

    References:
        theory F.10.

    Example:
        >>> round(logit_multiplier(1.0), 6)
        0.666667
    """
    return shrink_factor(alpha)


def true_logit_ratio(norm_squared: ArrayLike, sigma: ArrayLike, aspect: ArrayLike) -> Result:
    r"""Ratio :math:`\rho=\|\theta^*\|^2/(\|\theta^*\|^2+c\sigma^2)` of the true to the plain classifier's logit.

    For :math:`x\mid y\sim N(y\theta^*,\sigma^2I_p)` and :math:`p/n\to c`. Below 1 the plain classifier is
    over-confident: calibration wants its logit multiplied by :math:`\rho`.

    Args:
        norm_squared: :math:`\|\theta^*\|^2 > 0`.
        sigma: Noise > 0 per coordinate; broadcasts.
        aspect: Limit c >= 0 of dimension over examples; 0 is the classical regime; broadcasts.

    Returns:
        The ratio, in (0, 1].

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory F.10; Zhang et al. 2022.

    Example:
        >>> true_logit_ratio(1.0, 1.0, 0.5)
        0.666...
    """
    signal = check_positive("norm_squared", norm_squared)
    noise = check_positive("aspect", aspect, zero=True) * check_positive("sigma", sigma) ** 2
    return as_result(signal / (signal + noise))


def calibrating_alpha(rho: ArrayLike) -> Result:
    r"""Concentration at which mixup calibrates the averaging classifier exactly, :math:`\alpha=(1-\rho)/(2\rho-1)`.

    Solves :math:`s(\alpha)=\rho`. Below that alpha the model is still over-confident, above it under-confident.

    Args:
        rho: Ratio of the true to the plain logit, in [1/2, 1] (`true_logit_ratio`); 1 needs no mixup.

    Returns:
        The concentration in [0, inf]; inf, always blending halves, for rho = 1/2.

    Raises:
        ValueError: If `rho` is below 1/2, where no alpha calibrates, or above 1.

    References:
        theory F.10.

    Example:
        >>> round(calibrating_alpha(0.8), 12)
        0.333333333333
    """
    rho = check_positive("rho", rho)
    if np.any(rho < 0.5):
        raise ValueError(
            f"`rho` must be in [1/2, 1], got {float(rho.min()):g}: no alpha calibrates, because mixup multiplies the "
            "logit by s(alpha) >= 1/2 and can never halve it and more. Divide the logits by the temperature 1 / rho."
        )
    if np.any(rho > 1):
        raise ValueError(
            f"`rho` must be in [1/2, 1], got {float(rho.max()):g}: the plain classifier is not over-confident, and "
            "mixup can only shrink its logit."
        )
    excess = 2 * rho - 1
    return as_result(np.where(excess > 0, (1 - rho) / np.where(excess > 0, excess, 1.0), np.inf))


def averaging_ece(alpha: ArrayLike, norm_squared: ArrayLike, sigma: ArrayLike, aspect: ArrayLike) -> Result:
    r"""Population calibration error of the mixup averaging classifier.

    .. math:: E|\sigma(2\rho z/\sigma^2)-\sigma(2sz/\sigma^2)|,\qquad
              z=\hat\theta^\top x\mid y\sim N(y\|\theta^*\|^2,\sigma^2N_2),\quad N_2=\|\theta^*\|^2+c\sigma^2

    Zero at `calibrating_alpha`; in the classical regime c = 0 any mixup hurts.

    Assumptions:
        Balanced classes, dimension and sample size large with ratio c.

    Args:
        alpha: Beta concentration(s) in [0, inf]; 0 is ERM.
        norm_squared: :math:`\|\theta^*\|^2 > 0`; broadcasts.
        sigma: Noise > 0 per coordinate; broadcasts.
        aspect: c >= 0; broadcasts.

    Returns:
        The expected calibration error, in [0, 1/2).

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory F.10; Zhang et al. 2022.

    Example:
        >>> averaging_ece([0.0, 0.5, 2.0], 1.0, 1.0, 0.5).round(6).tolist()
        [0.057179, 0.017552, 0.01614]
    """
    s, rho = np.asarray(shrink_factor(alpha)), np.asarray(true_logit_ratio(norm_squared, sigma, aspect))
    s, rho, snr, c = np.broadcast_arrays(
        s, rho, np.asarray(norm_squared, dtype=float) / np.asarray(sigma, dtype=float) ** 2, np.asarray(aspect, float)
    )
    values = [_ece(*row) for row in zip(s.flat, rho.flat, snr.flat, c.flat, strict=True)]
    return as_result(np.reshape(values, s.shape))


def derive_logit_multiplier() -> Derivation:
    """Derive that for balanced data mixup multiplies the averaging classifier by exactly s.

    Returns:
        The derivation; its result is the ratio of the mixup to the plain classifier, in alpha.

    References:
        theory F.10.

    Example:
        >>> derive_logit_multiplier().verify().result
        (alpha + 1)/(2*alpha + 1)
    """
    x = sp.symbols("x1:5", real=True)
    y = (1, 1, -1, -1)
    alpha = sp.Symbol("alpha", positive=True)
    lam = sp.Symbol("lambda", real=True)
    total = sum((lam * x[i] + (1 - lam) * x[j]) * (lam * y[i] + (1 - lam) * y[j]) for i in range(4) for j in range(4))
    powers = sp.Poly(sp.expand(total / 16), lam).all_coeffs()[::-1]
    mixed = sum(c * sp.rf(alpha, k) / sp.rf(2 * alpha, k) for k, c in enumerate(powers))
    plain = sum(a * b for a, b in zip(x, y, strict=True)) / 4
    return Derivation(
        "For balanced classes mixup multiplies the averaging classifier by s.",
        ("two arbitrary examples of each class", "pairs with replacement, lam ~ Beta(alpha, alpha)"),
        (
            Step(mixed / plain, "sixteen pairs enumerated, powers of lam replaced by their moments"),
            Step((alpha + 1) / (2 * alpha + 1), "the term with the product of the means is 0"),
        ),
    )


def derive_calibrating_alpha() -> Derivation:
    """Derive the calibrating alpha: the true logit from Bayes' rule, then s(alpha) = rho.

    Returns:
        The derivation; its result is the calibrating alpha in rho.

    References:
        theory F.10.

    Example:
        >>> derive_calibrating_alpha().verify().result
        (1 - rho)/(2*rho - 1)
    """
    z = sp.Symbol("z", real=True)
    norm, sigma, n2, rho, alpha = sp.symbols("T sigma N_2 rho alpha", positive=True)
    log_odds = -((z - norm) ** 2 - (z + norm) ** 2) / (2 * sigma**2 * n2)
    (solution,) = sp.solve(sp.Eq((alpha + 1) / (2 * alpha + 1), rho), alpha)
    return Derivation(
        "The averaging classifier is calibrated exactly at alpha = (1 - rho) / (2 rho - 1).",
        ("z | y ~ N(y T, sigma^2 N_2) with T the squared norm of the mean", "rho = T / N_2 > 1/2", "balanced classes"),
        (
            Step(
                sp.Eq(log_odds, 2 * z / sigma**2 * norm / n2, evaluate=False), "the true logit is rho times the plain"
            ),
            Step(
                sp.Eq(solution, (1 - rho) / (2 * rho - 1), evaluate=False),
                "mixup multiplies the plain logit by s(alpha): solve s(alpha) = rho; positive only for rho > 1/2",
            ),
        ),
    )


def _ece(s: float, rho: float, snr: float, c: float) -> float:
    """Integrate over |z| in units of sigma^2, by panels that resolve the sigmoids and the normal density."""
    deviation = np.sqrt(snr + c)
    widest = 20.0 / min(s, rho)  # beyond, both sigmoids are 1
    edges = np.concatenate([[0.0], 2.0 ** np.arange(-3, 12), snr + deviation * np.arange(-10.0, 10.5, 1.0)])
    top = min(snr + 10 * deviation, widest)
    edges = np.unique(np.clip(edges, 0, top))
    nodes, weights = roots_legendre(24)
    total = 0.0
    for low, high in pairwise(edges):
        z = low + (high - low) * (1 + nodes) / 2
        density = np.exp(-0.5 * ((z - snr) / deviation) ** 2) + np.exp(-0.5 * ((z + snr) / deviation) ** 2)
        # sigma(a) - sigma(b) = sigma(-b) sigma(a) (1 - e^(b - a)): nothing cancels when a is near b
        near, far = 2 * min(s, rho) * z, 2 * max(s, rho) * z
        gap = expit(-near) * expit(far) * -np.expm1(near - far)
        total += float((high - low) / 2 * weights @ (density * gap))
    return total / (deviation * np.sqrt(2 * np.pi))
