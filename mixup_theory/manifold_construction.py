r"""Manifold mixup with zero loss: an affine readout, and each class confined to an affine subspace."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import as_result, check_alpha, check_array, check_integer
from .moments import Result, shrink_factor
from .weights import sample_lam

__all__ = ["ManifoldConstruction", "least_squared_loss", "manifold_construction"]


@dataclass(frozen=True)
class ManifoldConstruction:
    r"""An affine readout :math:`f(h)=Wh+b` and, for each class c, the preimage of the unit vector :math:`e_c`.

    Attributes:
        weight: W, shape [d, dim H]; of rank d - 1.
        bias: b, shape [d].
        centers: The point of each class nearest to the origin, shape [d, dim H].
        directions: Orthonormal basis of the free directions that all classes share, shape [free, dim H].
    """

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    centers: NDArray[np.float64]
    directions: NDArray[np.float64]

    @property
    def free_dimension(self) -> int:
        """Dimension of the affine subspace that each class may fill: dim H - d + 1."""
        return len(self.directions)

    def readout(self, hidden: ArrayLike) -> NDArray[np.float64]:
        """Apply the affine readout.

        Args:
            hidden: Hidden states, shape [n, dim H].

        Returns:
            Outputs, shape [n, d].

        Raises:
            ValueError: If the shape does not fit.
        """
        hidden = check_array("hidden", hidden, 2)
        if hidden.shape[1] != self.weight.shape[1]:
            raise ValueError(f"`hidden` must have {self.weight.shape[1]} columns, got {hidden.shape[1]}.")
        return hidden @ self.weight.T + self.bias

    def sample(self, rng: np.random.Generator, classes: ArrayLike) -> NDArray[np.float64]:
        """Draw one hidden state per label, spread as a standard normal over the subspace of its class.

        Args:
            rng: Source of randomness.
            classes: Labels 0..d-1, shape [n].

        Returns:
            Hidden states, shape [n, dim H].

        Raises:
            ValueError: If a label lies outside 0..d-1.
        """
        index = np.asarray(classes)
        if index.ndim != 1 or index.dtype.kind not in "iu" or np.any((index < 0) | (index >= len(self.centers))):
            raise ValueError(
                f"`classes` must be whole numbers in 0..{len(self.centers) - 1} of shape [n], got {index}."
            )
        return self.centers[index] + rng.standard_normal((len(index), self.free_dimension)) @ self.directions

    def largest_deviation(self, rng: np.random.Generator, alpha: float = 1.0, num_pairs: int = 1000) -> float:
        r"""Largest entry of :math:`|f(\tilde h)-\tilde y|` over random mixed pairs: 0 up to rounding.

        Args:
            rng: Source of randomness.
            alpha: Beta concentration in [0, inf].
            num_pairs: Number of pairs, >= 1.

        Returns:
            The deviation; any loss with l(y, y) = 0 then is 0 on every mixed pair.

        Raises:
            ValueError: If an argument is out of range.
        """
        num_pairs = check_integer("num_pairs", num_pairs, 1)
        d = len(self.centers)
        first, second = rng.integers(0, d, (2, num_pairs))
        lam, rest = (w[:, None] for w in sample_lam(rng, num_pairs, alpha))
        mixed = lam * self.sample(rng, first) + rest * self.sample(rng, second)
        return float(np.abs(self.readout(mixed) - lam * np.eye(d)[first] - rest * np.eye(d)[second]).max())


def manifold_construction(
    num_classes: int, hidden_dim: int, rng: np.random.Generator | None = None
) -> ManifoldConstruction:
    r"""Construct hidden states and an affine readout with zero manifold-mixup loss.

    With d classes, :math:`f(h)=e_d+PAh`, where A maps the hidden space onto :math:`\mathbb R^{d-1}` and P has the
    columns :math:`e_k-e_d`; class c is the preimage of :math:`e_c`. Mixed states then have mixed labels, and each
    class may fill :math:`\dim H-d+1` directions; the d - 1 others are flattened. With cross-entropy the floor is
    the label entropy (floors), not 0.

    Assumptions:
        An encoder that can put every example anywhere, and a loss with :math:`\ell(y,y)=0`.

    Args:
        num_classes: d >= 2.
        hidden_dim: dim H >= d - 1.
        rng: Source of a random A; the first d - 1 coordinates when None.

    Returns:
        The construction.

    Raises:
        ValueError: If `hidden_dim` < d - 1, where an affine readout cannot reach all d corners.

    References:
        theory F.11; Verma et al. 2019, Theorem 1.

    Example:
        >>> construction = manifold_construction(3, 4, np.random.default_rng(0))
        >>> construction.free_dimension, construction.largest_deviation(np.random.default_rng(1)) < 1e-13
        (2, True)
    """
    d = check_integer("num_classes", num_classes, 2)
    h = check_integer("hidden_dim", hidden_dim, 1)
    if h < d - 1:
        raise ValueError(
            f"`hidden_dim` must be >= num_classes - 1 = {d - 1}, got {h}: the corners of {d} classes span "
            f"{d - 1} dimensions. `least_squared_loss` says what remains."
        )
    onto = np.eye(d - 1, h) if rng is None else rng.standard_normal((d - 1, h))
    corners = np.concatenate([np.eye(d - 1), -np.ones((1, d - 1))])  # P, its columns e_k - e_d
    _, _, rows = np.linalg.svd(onto)
    inverse = np.linalg.pinv(onto)  # [h, d - 1]; column k is the nearest point with A h = e_k
    return ManifoldConstruction(
        corners @ onto, np.eye(d)[-1], np.concatenate([inverse.T, np.zeros((1, h))]), rows[d - 1 :]
    )


def least_squared_loss(alpha: ArrayLike, num_classes: int, hidden_dim: int) -> Result:
    r"""Least manifold-mixup squared loss of an affine readout, :math:`\max(0,\,d-1-\dim H)\,s/d`.

    The mixed labels of balanced classes have the covariance :math:`\frac sd(I-\frac1d\mathbb 1\mathbb 1^\top)`, with
    d - 1 equal eigenvalues; an affine readout of h dimensions reaches h of them. So the condition
    :math:`\dim H\ge d-1` of the construction is sharp.

    Assumptions:
        Balanced classes, independent pairs.

    Args:
        alpha: Beta concentration(s) in [0, inf].
        num_classes: d >= 2.
        hidden_dim: dim H >= 1.

    Returns:
        The least mean of :math:`\|\tilde y-f(\tilde h)\|^2`, of the shape of `alpha`.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory B.9, F.11.

    Example:
        >>> least_squared_loss(1.0, 3, 1), least_squared_loss(1.0, 3, 2)
        (0.222..., 0.0)
    """
    d, h = check_integer("num_classes", num_classes, 2), check_integer("hidden_dim", hidden_dim, 1)
    return as_result(max(0, d - 1 - h) * np.asarray(shrink_factor(check_alpha(alpha))) / d)
