r"""Laws of the mixing weight as objects: Beta, fixed, the larger of lam and 1 - lam, Dirichlet for k-way mixing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, roots_jacobi

from . import weights
from ._checks import as_result, check_alpha, check_array, check_integer, check_positive
from .quadrature import expect, expect_pieces

__all__ = ["AlphaOrLaw", "Beta", "DirichletWeights", "Fixed", "LargerBeta", "Law", "as_law"]

Function: TypeAlias = Callable[[NDArray[np.float64]], ArrayLike]


class Law:
    r"""What every law of lam offers, all of it from its moments :math:`E[\lambda^k(1-\lambda)^m]`.

    Write :math:`p=\lambda(1-\lambda)` and :math:`q=\lambda^2+(1-\lambda)^2=1-2p`.
    """

    def moment(self, k: int, m: int = 0) -> Any:
        r"""Return :math:`E[\lambda^k(1-\lambda)^m]`."""
        raise NotImplementedError

    @property
    def mean(self) -> Any:
        r"""Mean of lam."""
        return self.moment(1)

    @property
    def variance(self) -> Any:
        r"""Variance of lam."""
        return self.moment(2) - self.moment(1) ** 2

    @property
    def mean_p(self) -> Any:
        r"""Mean of p."""
        return self.moment(1, 1)

    @property
    def mean_p_squared(self) -> Any:
        r"""Second moment of p."""
        return self.moment(2, 2)

    @property
    def shrink_factor(self) -> Any:
        r"""Mean of q: the factor by which mixing independent pairs shrinks a covariance."""
        return 1 - 2 * self.mean_p

    @property
    def mean_q_squared(self) -> Any:
        r"""Second moment of q."""
        return 1 - 4 * self.mean_p + 4 * self.mean_p_squared

    @property
    def var_q(self) -> Any:
        r"""Variance of q."""
        return 4 * (self.mean_p_squared - self.mean_p**2)


@dataclass(frozen=True, eq=False)
class Beta(Law):
    r"""The law Beta(alpha, alpha), or Beta(alpha, beta).

    The limits are values: alpha = 0 puts lam at 0 or 1 with equal chance, alpha = inf at 1/2. Moments take
    arrays of alpha; `expect` and `sample` belong to one alpha.

    Attributes:
        alpha: First concentration(s), in [0, inf] when `beta` is None, else in (0, inf).
        beta: Second concentration(s) in (0, inf); equal to `alpha` when None.

    Example:
        >>> Beta(1.0).shrink_factor == weights.shrink_factor(1.0)
        True
        >>> Beta(0.5, 1.5).shrink_factor
        0.75
    """

    alpha: Any
    beta: Any = None

    def __post_init__(self) -> None:
        if self.beta is None:
            check_alpha(self.alpha)
        else:
            check_positive("alpha", self.alpha)
            check_positive("beta", self.beta)

    def moment(self, k: int, m: int = 0) -> Any:
        r"""Return :math:`B(\alpha+k,\beta+m)/B(\alpha,\beta)`."""
        return weights.lam_moment(k, m, self.alpha, self.beta)

    @property
    def variance(self) -> Any:
        r"""Variance of lam, without cancellation."""
        if self.beta is None:
            return weights.var_lam(self.alpha)
        a, b = np.asarray(self.alpha, dtype=float), np.asarray(self.beta, dtype=float)
        return as_result(a * b / ((a + b) ** 2 * (a + b + 1)))

    @property
    def shrink_factor(self) -> Any:
        r"""Mean of q."""
        return weights.shrink_factor(self.alpha) if self.beta is None else 1 - 2 * self.mean_p

    @property
    def mean_q_squared(self) -> Any:
        r"""Second moment of q."""
        return weights.mean_q_squared(self.alpha) if self.beta is None else super().mean_q_squared

    @property
    def var_q(self) -> Any:
        r"""Variance of q, without cancellation in the symmetric case."""
        return weights.var_q(self.alpha) if self.beta is None else super().var_q

    def expect(self, g: Function, num_nodes: int = 64) -> Any:
        r"""Return :math:`E\,g(\lambda)` for a smooth g that takes nodes [n] and returns [n, ...]."""
        if self.beta is None:
            return expect(g, self.alpha, num_nodes)
        u, w = roots_jacobi(num_nodes, float(self.beta) - 1, float(self.alpha) - 1)
        return as_result(np.tensordot(w / w.sum(), np.asarray(g((1 + u) / 2), dtype=float), axes=1))

    def sample(self, rng: np.random.Generator, size: int | tuple[int, ...]) -> NDArray[np.float64]:
        r"""Draw lam with the log-space sampler of `weights.sample_lam`."""
        return weights.sample_lam(rng, size, self.alpha, self.beta)[0]


@dataclass(frozen=True, eq=False)
class LargerBeta(Law):
    r"""The law of max(lam, 1 - lam), :math:`\lambda\sim\mathrm{Beta}(\alpha,\alpha)` (fastai's convention).

    Functions of p keep their law; the mean and the variance of lam do not.

    Attributes:
        alpha: Concentration(s) in [0, inf].

    Example:
        >>> LargerBeta(1.0).mean, LargerBeta(1.0).shrink_factor == Beta(1.0).shrink_factor
        (0.75, True)
    """

    alpha: Any

    def __post_init__(self) -> None:
        check_alpha(self.alpha)

    def moment(self, k: int, m: int = 0) -> Any:
        r"""Return :math:`2 E[\lambda^k(1-\lambda)^m] I_{1/2}(\alpha+m,\alpha+k)`; plain moments where k = m."""
        if k == m:
            return weights.lam_moment(k, m, self.alpha)
        a = check_alpha(self.alpha)
        inside = (a > 0) & np.isfinite(a)
        b = np.where(inside, a, 1.0)
        value = 2 * np.asarray(weights.lam_moment(k, m, b)) * betainc(b + m, b + k, 0.5)
        return as_result(np.where(inside, value, np.where(a == 0, float(m == 0), 0.5 ** (k + m))))

    @property
    def variance(self) -> Any:
        r"""Variance of the larger weight, without cancellation."""
        return weights.var_max_lam(self.alpha)

    @property
    def shrink_factor(self) -> Any:
        r"""Mean of q, the same as for lam."""
        return weights.shrink_factor(self.alpha)

    @property
    def var_q(self) -> Any:
        r"""Variance of q, the same as for lam."""
        return weights.var_q(self.alpha)

    def expect(self, g: Function, num_nodes: int = 64) -> Any:
        r"""Return :math:`E\,g(\max(\lambda,1-\lambda))`, split at the kink."""
        return expect_pieces(lambda t: g(np.maximum(t, 1 - t)), self.alpha, [0, 0.5, 1], num_nodes)

    def sample(self, rng: np.random.Generator, size: int | tuple[int, ...]) -> NDArray[np.float64]:
        r"""Draw the larger of lam and 1 - lam."""
        return np.maximum(*weights.sample_lam(rng, size, self.alpha))


@dataclass(frozen=True, eq=False)
class Fixed(Law):
    r"""A point mass at lam, which may be any real number (extrapolation included).

    Attributes:
        lam: The weight(s), finite.

    Example:
        >>> round(Fixed(1.4).shrink_factor, 6)  # extrapolating pairs inflates the covariance
        2.12
    """

    lam: Any

    def __post_init__(self) -> None:
        check_array("lam", self.lam, (0, 1, 2))

    def moment(self, k: int, m: int = 0) -> Any:
        r"""Return :math:`\lambda^k(1-\lambda)^m`."""
        lam = np.asarray(self.lam, dtype=float)
        return as_result(lam**k * (1 - lam) ** m)

    @property
    def variance(self) -> Any:
        r"""Zero."""
        return as_result(np.zeros_like(np.asarray(self.lam, dtype=float)))

    @property
    def var_q(self) -> Any:
        r"""Zero."""
        return self.variance

    def expect(self, g: Function, num_nodes: int = 64) -> Any:
        r"""Return g(lam)."""
        return as_result(np.asarray(g(np.array([float(self.lam)])), dtype=float)[0])

    def sample(self, rng: np.random.Generator, size: int | tuple[int, ...]) -> NDArray[np.float64]:
        r"""Return an array full of lam."""
        return np.full(size, float(self.lam))


AlphaOrLaw: TypeAlias = Any  # a Beta concentration (float or array) or one of the laws above


def as_law(alpha: AlphaOrLaw) -> Any:
    """Return a law as it is and read anything else as the concentration of a symmetric Beta law.

    Args:
        alpha: A law, or Beta concentration(s) in [0, inf].

    Returns:
        The law.

    Raises:
        ValueError: If `alpha` is neither.

    Example:
        >>> as_law(1.0).mean
        0.5
    """
    return alpha if isinstance(alpha, Law) else Beta(alpha)


@dataclass(frozen=True)
class DirichletWeights:
    r"""Weights :math:`w\sim\mathrm{Dir}(\alpha,\dots,\alpha)` for mixing k examples at a time.

    Attributes:
        alpha: Concentration in [0, inf]: at 0 one example takes all, at inf all share equally.
        num_mixed: Number k >= 2 of examples mixed.

    References:
        theory B.7.

    Example:
        >>> DirichletWeights(1.0, 3).shrink_factor
        0.5
    """

    alpha: float
    num_mixed: int

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        check_integer("num_mixed", self.num_mixed, 2)

    @property
    def shrink_factor(self) -> float:
        r"""Return :math:`E\sum_i w_i^2 = (\alpha+1)/(k\alpha+1)`."""
        a, k = float(self.alpha), self.num_mixed
        return 1 / k if np.isinf(a) else (a + 1) / (k * a + 1)

    def sample(self, rng: np.random.Generator, size: int) -> NDArray[np.float64]:
        r"""Draw weights of shape [size, k] that sum to 1, in log space as `weights.sample_lam` does."""
        a, k = float(self.alpha), self.num_mixed
        if a == 0:
            return np.eye(k)[rng.integers(0, k, size)]
        if np.isinf(a):
            return np.full((size, k), 1 / k)
        shape = (size, k)
        logs = np.log(rng.standard_gamma(a + 1, shape)) - rng.standard_exponential(shape) / a
        w = np.exp(logs - logs.max(axis=1, keepdims=True))
        return w / w.sum(axis=1, keepdims=True)
