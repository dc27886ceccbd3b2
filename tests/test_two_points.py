"""The two-point slope against theory F.3's numbers, an mpmath root, a direct minimisation and its limits."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from mixup_theory.quadrature import expect
from mixup_theory.two_points import two_point_confidence, two_point_logistic_slope
from mixup_theory.weights import expected_max_lam

PRINTED = {
    0.05: 5.20786205,
    0.2: 4.18054068,
    0.5: 3.72117848,
    1.0: 3.54228331,
    2.0: 3.52487885,
    8.0: 3.91739174,
    100.0: 5.49126781,
}


def test_printed_values() -> None:
    got = two_point_logistic_slope(list(PRINTED))
    np.testing.assert_allclose(got, list(PRINTED.values()), atol=5.1e-9, rtol=0)
    confidence = two_point_confidence(list(PRINTED))
    assert confidence.min() == pytest.approx(0.971, abs=5e-4)
    assert confidence.max() == pytest.approx(0.996, abs=5e-4)
    assert np.all(confidence > expected_max_lam(list(PRINTED)))


def tiny_alpha_gradient(theta: mp.mpf, alpha: mp.mpf) -> mp.mpf:
    """The stationarity condition with the endpoints peeled (theory A.2), in 30 digits."""

    def g(lam: mp.mpf) -> mp.mpf:
        u = 2 * lam - 1
        return (1 / (1 + mp.exp(-theta * u)) - lam) * u

    ends = (g(mp.mpf(0)) + g(mp.mpf(1))) / 2

    def bulge(lam: mp.mpf) -> mp.mpf:
        chord = lam * g(mp.mpf(1)) + (1 - lam) * g(mp.mpf(0))
        return (g(lam) - chord) / (lam * (1 - lam)) * (lam * (1 - lam)) ** alpha

    interior = mp.quad(bulge, [0, 0.25, 0.4, 0.45, 0.5, 0.55, 0.6, 0.75, 1]) / mp.beta(alpha + 1, alpha + 1)
    mixed = ends + alpha / (2 * (2 * alpha + 1)) * interior
    return (1 / (1 + mp.exp(-theta)) - 1) / 2 + mixed / 2


@pytest.mark.parametrize("alpha", ["1e-8", "1e-3", "0.3", "0.999"])
def test_small_alpha_against_mpmath(alpha: str) -> None:
    got = two_point_logistic_slope(float(alpha))
    with mp.workdps(25):
        exact = mp.findroot(lambda theta: tiny_alpha_gradient(theta, mp.mpf(alpha)), (got, got + 0.01), tol=1e-20)
    assert got == pytest.approx(float(exact), rel=1e-13)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 1.5, 40.0])
def test_it_minimises_the_risk_over_all_four_pairs(alpha: float) -> None:
    def risk(theta: float) -> float:
        def mixed(lam: np.ndarray) -> np.ndarray:
            z = theta * (2 * lam - 1)
            return np.logaddexp(0, z) - lam * z

        return 0.5 * np.logaddexp(0, -theta) + 0.5 * float(expect(mixed, alpha, 128))

    found = minimize_scalar(risk, bounds=(0.1, 20), method="bounded", options={"xatol": 1e-9})
    assert two_point_logistic_slope(alpha) == pytest.approx(found.x, rel=1e-6)


def test_both_ends_diverge_logarithmically_and_the_middle_is_lowest() -> None:
    small, large = 10.0 ** -np.arange(6, 12), 10.0 ** np.arange(4, 9)
    assert two_point_logistic_slope([0.0, np.inf]).tolist() == [np.inf, np.inf]
    assert two_point_confidence(0.0) == 1.0
    for alphas in (small, large):
        slope = np.polyfit(np.log(alphas), two_point_logistic_slope(alphas), 1)[0]
        assert abs(slope) == pytest.approx(1.0, abs=0.1)
    grid = np.linspace(0.8, 3, 45)
    lowest = grid[np.argmin(two_point_logistic_slope(grid))]
    assert lowest == pytest.approx(1.5, abs=0.15)


def test_the_two_forms_agree_where_they_meet() -> None:
    below, above = two_point_logistic_slope([1 - 1e-10, 1.0])
    assert below == pytest.approx(above, abs=1e-9)


def test_shapes_and_bad_input() -> None:
    assert isinstance(two_point_logistic_slope(1.0), float)
    assert two_point_logistic_slope(np.ones((2, 3))).shape == (2, 3)
    for bad in (-1.0, np.nan, "1"):
        with pytest.raises(ValueError, match="`alpha` must be"):
            two_point_logistic_slope(bad)
