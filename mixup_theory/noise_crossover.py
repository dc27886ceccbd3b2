r"""Where mixup's gradient becomes noisier than ERM's: batch size, alpha, class separation; and the derivation."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from ._checks import as_result, check_alpha, check_array, check_choice, check_interval, check_positive
from .batch_enumeration import enumerate_partners
from .derivation import Derivation, Step
from .weights import mean_p_squared, mean_q_squared, shrink_factor, var_q

__all__ = [
    "derive_gradient_noise",
    "derive_logistic_origin_noise",
    "gradient_noise_crossover",
    "logistic_origin_covariance",
    "logistic_origin_gradient",
    "logistic_origin_threshold",
    "per_sample_noise_threshold",
]


def gradient_noise_crossover(
    alpha: ArrayLike,
    trace_c: ArrayLike,
    h_squared: ArrayLike,
    *,
    trace_d: ArrayLike | None = None,
    rho2: ArrayLike = 0.0,
) -> Any:
    r"""Batch size above which mixup with one lam per batch is noisier than ERM, in trace.

    .. math:: n^*=(2\alpha+1)\,
              \frac{(3\alpha+5)\,\mathrm{tr}C-\tfrac12(1+\rho_2)(\alpha+1)\,\mathrm{tr}D}{\lVert h\rVert^2}

    For C = D: :math:`\tfrac12(2\alpha+1)(5\alpha+9)\,\mathrm{tr}C/\lVert h\rVert^2` for a roll,
    :math:`2(\alpha+2)(2\alpha+1)\,\mathrm{tr}C/\lVert h\rVert^2` for a flip. Far from the optimum of a noisy
    problem it is small, at the optimum (h = 0) it is infinite. A value <= 0, possible only where tr D exceeds
    tr C, means noisier at every batch size.

    Assumptions: as `gradient_noise.gradient_noise_coefficients`; partners without fixed points.

    Args:
        alpha: Beta concentration(s) in [0, inf]; 0 gives the limit.
        trace_c: tr C > 0, the trace of ERM's per-example gradient covariance.
        h_squared: Squared norm > 0 of the expected gradient.
        trace_d: tr D > 0; by default tr C, its value for Gaussian data.
        rho2: Probability in [0, 1] that the partner of my partner is me. All arguments broadcast.

    Returns:
        The batch size, any real number; inf at alpha = inf.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory C.6.

    Example:
        >>> round(gradient_noise_crossover(0.2, 4.0, 1.0), 9)
        28.0
    """
    a = check_alpha(alpha)
    c, h = check_positive("trace_c", trace_c), check_positive("h_squared", h_squared)
    d = c if trace_d is None else check_positive("trace_d", trace_d)
    share = (1 + check_interval("rho2", rho2, 0, 1)) / 2
    finite = np.where(np.isinf(a), 1.0, a)
    value = (2 * finite + 1) * ((3 * finite + 5) * c - share * (finite + 1) * d) / h
    leading = np.sign(3 * c - share * d)  # sign of the growth; D may exceed C in principle
    with np.errstate(invalid="ignore"):
        return as_result(np.where(np.isinf(a), leading * np.inf, value))


def per_sample_noise_threshold(rho2: float = 0.0) -> float:
    r"""Alpha below which one lam per sample (no max) makes every batch gradient noisier than ERM's, for C = D.

    The positive root of :math:`10a^3+19a^2+2a-3=\rho_2(2a^3+3a^2)`, 0.32499 for a roll: there
    :math:`n(\kappa_C+\kappa_D)=1`. The batch then holds duplicates; at alpha = 0 the factor is 3/2, not 1.

    Args:
        rho2: Probability in [0, 1] that the partner of my partner is me.

    Returns:
        The threshold.

    Raises:
        ValueError: If `rho2` is out of range.

    References:
        theory C.6.

    Example:
        >>> round(per_sample_noise_threshold(), 5)
        0.32499
    """
    rho2 = float(check_interval("rho2", rho2, 0, 1))
    cubic, square = 10 - 2 * rho2, 19 - 3 * rho2
    return float(brentq(lambda a: ((cubic * a + square) * a + 2) * a - 3, 0.0, 1.0, xtol=1e-15))


def logistic_origin_gradient(alpha: ArrayLike, class_mean: ArrayLike) -> NDArray[np.float64]:
    r"""Expected mixup gradient of logistic regression at weights 0: :math:`-\tfrac s2\mu_0`.

    Assumptions: :math:`x=t\mu_0+\xi`, balanced :math:`t=\pm1`, :math:`\xi` independent with mean 0; fresh pairs.

    Args:
        alpha: Beta concentration(s) in [0, inf], shape [...].
        class_mean: :math:`\mu_0`, shape [d].

    Returns:
        The gradient, shape [..., d].

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory C.7.

    Example:
        >>> logistic_origin_gradient(0.0, [2.0])  # ERM
        array([-1.])
    """
    s = np.asarray(shrink_factor(alpha))
    return -s[..., None] / 2 * check_array("class_mean", class_mean, 1)


def logistic_origin_covariance(
    alpha: ArrayLike, class_mean: ArrayLike, noise_covariance: ArrayLike
) -> NDArray[np.float64]:
    r"""Covariance of one mixed example's gradient of logistic regression at weights 0.

    :math:`\tfrac14[(\mathrm{Var}q+4Ep^2)\mu_0\mu_0^\top+Eq^2\,\Sigma_0]`; ERM has :math:`\tfrac14\Sigma_0`.
    Mixup adds noise along :math:`\mu_0`, where ERM has none.

    Assumptions: as `logistic_origin_gradient`, with :math:`\mathrm{Cov}\,\xi=\Sigma_0`.

    Args:
        alpha: Beta concentration(s) in [0, inf], shape [...].
        class_mean: :math:`\mu_0`, shape [d].
        noise_covariance: :math:`\Sigma_0`, shape [d, d].

    Returns:
        The covariance, shape [..., d, d].

    Raises:
        ValueError: If a shape or a value is out of range.

    References:
        theory C.7.

    Example:
        >>> logistic_origin_covariance(0.0, [2.0], [[1.0]])  # ERM
        array([[0.25]])
    """
    mu, sigma = check_array("class_mean", class_mean, 1), check_array("noise_covariance", noise_covariance, 2)
    if sigma.shape != (len(mu), len(mu)):
        raise ValueError(f"`noise_covariance` must have shape {(len(mu),) * 2}, got {sigma.shape}.")
    along = np.asarray(var_q(alpha)) + 4 * np.asarray(mean_p_squared(alpha))
    shrunk = np.asarray(mean_q_squared(alpha))
    return (along[..., None, None] * np.outer(mu, mu) + shrunk[..., None, None] * sigma) / 4


def logistic_origin_threshold(alpha: ArrayLike) -> Any:
    r"""Separation :math:`\lVert\mu_0\rVert^2/\mathrm{tr}\Sigma_0` above which mixup is noisier than ERM at weights 0.

    :math:`(2\alpha+1)(3\alpha+5)/(2\alpha^2+3\alpha+2)`: 5/2 as alpha goes to 0, 24/7 at 1, 3 at infinity.

    Assumptions: as `logistic_origin_covariance`; the traces are compared.

    Args:
        alpha: Beta concentration(s) in [0, inf]; 0 gives the limit.

    Returns:
        The separation, of the shape of alpha.

    Raises:
        ValueError: If `alpha` is out of range.

    References:
        theory C.7.

    Example:
        >>> logistic_origin_threshold(0.0), logistic_origin_threshold(float("inf"))
        (2.5, 3.0)
    """
    a = check_alpha(alpha)
    finite = np.where(np.isinf(a), 1.0, a)
    value = (2 * finite + 1) * (3 * finite + 5) / (2 * finite**2 + 3 * finite + 2)
    return as_result(np.where(np.isinf(a), 3.0, value))


def _mean(expression: sp.Expr, lams: tuple[sp.Symbol, ...], a: sp.Expr) -> sp.Expr:
    """Replace the powers of independent Beta(a, a) weights in a polynomial by their means."""
    terms = sp.Poly(sp.expand(expression), *lams).terms()
    return sum(c * sp.prod([sp.rf(a, k) / sp.rf(2 * a, k) for k in powers]) for powers, c in terms)


def _counted_noise(partner: str, lam_per: str, n: int, a: sp.Rational) -> sp.Expr:
    """Covariance of the batch gradient, as c C + d D + h H, counted over every partner map of n examples."""
    C, D, H = sp.symbols("C D H")
    lams = sp.symbols("l_0:4")[: n if lam_per == "sample" else 1]
    outcomes = list(enumerate_partners(n, partner))
    squares, mean, mean_square = sp.S.Zero, sp.S.Zero, sp.S.Zero
    for own, other in outcomes:
        weight: Counter = Counter()
        joint: Counter = Counter()
        for i, j in zip(own, other, strict=True):
            lam = lams[own.index(i) % len(lams)]
            weight[i] += lam**2 + (2 * lam * (1 - lam) if i == j else 0)
            weight[j] += (1 - lam) ** 2
            if i != j:
                joint[frozenset((i, j))] += lam * (1 - lam)
        total = sum(weight.values())
        squares += C * sum(w**2 for w in weight.values()) + 2 * D * sum(w**2 for w in joint.values())
        mean, mean_square = mean + total, mean_square + total**2
    count = len(outcomes)
    spread = _mean(mean_square, lams, a) / count - (_mean(mean, lams, a) / count) ** 2
    return sp.expand((_mean(squares, lams, a) / count + spread * H) / n**2)


def derive_gradient_noise(partner: str = "permutation", lam_per: str = "batch") -> Derivation:
    r"""Derive the trace of the mixup batch gradient's covariance, :math:`\kappa_CC+\kappa_DD+\kappa_hH`.

    Args:
        partner: `permutation` or `derangement` (counted at n = 2, 3, 4), `roll` (n = 3, 4) or `flip` (n = 2, 4).
        lam_per: `batch` or `sample`.

    Returns:
        The derivation; its result is in the symbols n, a, C, D, H (traces; H the squared norm of h).

    Raises:
        ValueError: If the scheme is another one.

    References:
        theory C.6.

    Example:
        >>> derive_gradient_noise("roll").verify().result.subs({"C": 0, "D": 0, "H": 1, "a": 1})
        1/45
    """
    check_choice("partner", partner, ("permutation", "derangement", "roll", "flip"))
    check_choice("lam_per", lam_per, ("batch", "sample"))
    n, a, C, D, H = sp.symbols("n a C D H")
    x_i, x_j, r_i, r_j, lam = sp.symbols("x_i x_j r_i r_j lambda")
    p, q = lam * (1 - lam), lam**2 + (1 - lam) ** 2
    moments = {"p": p, "pp": p**2, "qq": q**2, "l2": lam**2, "l4": lam**4}
    m = {name: sp.factor(_mean(value, (lam,), a)) for name, value in moments.items()}
    spread = sp.factor(m["qq"] - (1 - 2 * m["p"]) ** 2)
    sample = lam_per == "sample"
    mixed = 2 * m["l4"] + 2 * m["l2"] ** 2 if sample else m["qq"]
    if partner == "permutation":
        own = (1 - 1 / n) * mixed + 1 / n
        cross = 2 * (1 - 1 / n) * m["pp"] + 2 * m["p"] ** 2 / n if sample else 2 * m["pp"]
        floor = (1 - 1 / n) ** 2 * spread + 4 * m["pp"] / n**2
        floor = ((n - 1) * spread + 4 * m["p"] ** 2) / n**2 if sample else floor
    else:
        rho2 = {"roll": sp.S.Zero, "flip": sp.S.One, "derangement": sp.Symbol("rho_2")}[partner]
        own, floor = mixed, spread / n if sample else spread
        cross = 2 * m["pp"] + 2 * rho2 * (m["p"] ** 2 if sample else m["pp"])
    expression = own * C / n + cross * D / n + floor * H
    single = (lam * x_i + (1 - lam) * x_j) * (lam * r_i + (1 - lam) * r_j)
    split = lam**2 * x_i * r_i + (1 - lam) ** 2 * x_j * r_j + p * (x_i * r_j + x_j * r_i)
    returns = {2: 1, 3: 0, 4: sp.Rational(1, 3)}  # rho_2 of a uniform derangement
    cases = tuple(
        ({"n": size, "a": value, "rho_2": returns[size]}, _counted_noise(partner, lam_per, size, value))
        for size, value in product({"roll": (3, 4), "flip": (2, 4)}.get(partner, (2, 3, 4)), (sp.S.Half, sp.S(2)))
    )
    return Derivation(
        f"Noise of the mixup batch gradient: partner {partner}, one lam per {lam_per}.",
        ("squared loss, linear model", "examples i.i.d. with E x = 0 and E r = 0", "lam ~ Beta(a, a)"),
        (
            Step(sp.Eq(single, split), "own gradients and the cross term T, uncorrelated with them; Cov T = 2D"),
            Step(expression, "weights of each gradient and each T, squared and averaged", cases),
            Step(sp.collect(sp.expand(expression), (C, D, H)), "collect"),
        ),
    )


def derive_logistic_origin_noise() -> Derivation:
    r"""Derive the variance of a mixed logistic gradient at weights 0, in one dimension.

    Returns:
        The derivation; its result is in the symbols mu, v (the variance of xi) and a.

    References:
        theory C.7.

    Example:
        >>> derive_logistic_origin_noise().verify().result.subs({"mu": 0, "v": 1, "a": 1})
        7/60
    """
    mu, v, a, lam = sp.symbols("mu v a lambda")
    root = sp.sqrt(v)
    outcomes = [
        (lam * (t * mu + e * root) + (1 - lam) * (u * mu + f * root)) * -(lam * t + (1 - lam) * u) / 2
        for t, u, e, f in product((-1, 1), repeat=4)
    ]
    mean = _mean(sp.expand(sum(outcomes) / 16), (lam,), a)
    square = _mean(sp.expand(sum(g**2 for g in outcomes) / 16), (lam,), a)
    p, q = lam * (1 - lam), lam**2 + (1 - lam) ** 2
    spread = _mean(q**2, (lam,), a) - _mean(q, (lam,), a) ** 2
    closed = (spread + 4 * _mean(p**2, (lam,), a)) * mu**2 + _mean(q**2, (lam,), a) * v
    return Derivation(
        "At weights 0 mixup adds gradient noise along the class mean.",
        (
            "x = t mu + xi, t = +-1 balanced, E xi = 0, Var xi = v: two points stand for xi",
            "fresh pairs, lam ~ Beta(a, a)",
        ),
        (
            Step(square - mean**2, "mean square less squared mean over the 16 outcomes of a pair"),
            Step(closed / 4, "in the moments of p and q"),
            Step(sp.factor(closed / 4), "collect"),
        ),
    )
