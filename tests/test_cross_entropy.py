"""Cross-entropy and probabilities along segments against adaptive quadrature."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import beta as beta_function

from mixup_theory.cross_entropy import probability_label_deviation


def test_label_deviation_against_quadrature() -> None:
    rng = np.random.default_rng(3)
    network = [(rng.normal(size=(7, 4)), rng.normal(size=7)), (rng.normal(size=(3, 7)), rng.normal(size=3))]
    xi, xj = rng.normal(size=(2, 5, 4))
    yi, yj = np.eye(3)[[0, 1, 2, 0, 1]], np.eye(3)[[1, 2, 0, 0, 2]]
    got = probability_label_deviation(network, xi, xj, yi, yj, 1.7)
    for s in range(5):

        def square(t: float, s: int = s) -> float:
            hidden = np.maximum(network[0][0] @ (t * xi[s] + (1 - t) * xj[s]) + network[0][1], 0)
            logits = network[1][0] @ hidden + network[1][1]
            p = np.exp(logits - np.logaddexp.reduce(logits))
            density = (t * (1 - t)) ** (1.7 - 1) / beta_function(1.7, 1.7)
            return np.sum((p - t * yi[s] - (1 - t) * yj[s]) ** 2) * density

        expected, _ = quad(square, 0, 1, limit=400, epsabs=1e-7, epsrel=1e-7)
        assert got[s] == pytest.approx(expected, rel=1e-6)
