"""The averaging classifier against enumerated pairs, theory F.10's table, dense sums and a simulation."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

from mixup_theory.averaging_classifier import (
    averaging_ece,
    calibrating_alpha,
    derive_calibrating_alpha,
    derive_logit_multiplier,
    logit_multiplier,
    mixup_average,
    true_logit_ratio,
)
from mixup_theory.moments import lam_moment, shrink_factor


@pytest.mark.parametrize("alpha", [1e-8, 0.3, 1.0, 50.0])
@pytest.mark.parametrize("y", [[1, 1, -1, -1], [1, -1, -1, -1]])
def test_average_by_enumeration(alpha: float, y: list[int]) -> None:
    x = np.random.default_rng(0).standard_normal((4, 3))
    second, cross = lam_moment(2, 0, alpha), lam_moment(1, 1, alpha)
    total = np.zeros(3)
    for i, j in product(range(4), repeat=2):
        total += second * (x[i] * y[i] + x[j] * y[j]) + cross * (x[i] * y[j] + x[j] * y[i])
    np.testing.assert_allclose(mixup_average(x, y, alpha), total / 16, rtol=1e-12)
    if sum(y) == 0:
        plain = mixup_average(x, y, 0.0)
        np.testing.assert_allclose(mixup_average(x, y, alpha), logit_multiplier(alpha) * plain, rtol=1e-12)


def test_printed_table() -> None:
    got = averaging_ece([0.0, 0.5, 2.0], 1.0, 1.0, [[0.0], [0.5], [2.0]])
    printed = [[0, 0.041914, 0.076971], [0.057179, 0.017552, 0.016140], [0.155217, 0.120076, 0.089118]]
    np.testing.assert_allclose(got, printed, atol=5.1e-7, rtol=0)


@pytest.mark.parametrize(
    ("alpha", "signal", "sigma", "aspect"),
    [
        (0.5, 1.0, 1.0, 0.5),
        (1.0, 1e-4, 1.0, 2.0),
        (1e-8, 1.0, 1.0, 0.0),
        (2.0, 1.0, 100.0, 5.0),
        (np.inf, 9.0, 2.0, 1.0),
    ],
)
def test_ece_against_a_dense_sum(alpha: float, signal: float, sigma: float, aspect: float) -> None:
    rho = signal / (signal + aspect * sigma**2)
    deviation = sigma * np.sqrt(signal + aspect * sigma**2)
    step = 2.4e-5 * deviation
    z = signal + step * np.arange(-500_000, 500_000) + 0.5 * step
    gap = np.abs(expit(2 * rho * z / sigma**2) - expit(2 * shrink_factor(alpha) * z / sigma**2))
    wanted = step * np.sum(norm.pdf(z, signal, deviation) * gap)
    assert averaging_ece(alpha, signal, sigma, aspect) == pytest.approx(wanted, rel=1e-7)


def test_the_model_in_high_dimension() -> None:
    """Simulate the classifier itself: law of z, and the calibration error of its scaled logit."""
    rng = np.random.default_rng(12)
    p, n, sigma, draws = 800, 400, 1.0, 30
    mean = np.zeros(p)
    mean[0] = 1.0
    gaps, logits = [], []
    s, rho = shrink_factor(0.5), true_logit_ratio(1.0, sigma, p / n)
    for _ in range(draws):
        y = np.repeat([1, -1], n // 2)
        theta = mixup_average(y[:, None] * mean + sigma * rng.standard_normal((n, p)), y, 0.0)
        label = rng.choice([-1, 1], 200)
        z = (label[:, None] * mean + sigma * rng.standard_normal((200, p))) @ theta
        gaps.append(np.mean(np.abs(expit(2 * rho * z / sigma**2) - expit(2 * s * z / sigma**2))))
        logits.append(np.mean((label * z - 1) ** 2))
    for sample, predicted in ((gaps, averaging_ece(0.5, 1.0, sigma, p / n)), (logits, 1 + p / n)):
        assert abs(np.mean(sample) - predicted) < 6 * np.std(sample, ddof=1) / np.sqrt(draws) + 0.01 * predicted


def test_calibration_is_exact_at_the_calibrating_alpha() -> None:
    for aspect in (0.05, 0.5, 0.9):
        rho = true_logit_ratio(1.0, 1.0, aspect)
        alpha = calibrating_alpha(rho)
        assert shrink_factor(alpha) == pytest.approx(rho, rel=1e-14)
        assert averaging_ece(alpha, 1.0, 1.0, aspect) == pytest.approx(0, abs=1e-15)
        assert averaging_ece(alpha * 0.9, 1.0, 1.0, aspect) > 1e-5
        assert averaging_ece(alpha * 1.1, 1.0, 1.0, aspect) > 1e-5
    np.testing.assert_allclose(calibrating_alpha([1.0, 0.8, 0.5]), [0, 1 / 3, np.inf], rtol=1e-14)
    assert averaging_ece(np.inf, 1.0, 1.0, 1.0) == 0.0  # rho = 1/2


def test_classical_regime_any_mixup_hurts() -> None:
    ece = averaging_ece([0.0, 1e-8, 1e-3, 1.0, 1e6], 1.0, 1.0, 0.0)
    assert ece[0] == 0
    assert np.all(np.diff(ece) > 0)
    assert ece[1] / 1e-8 == pytest.approx(ece[2] / 1e-3, rel=0.01)  # first order in alpha keeps its digits
    assert averaging_ece(1e6, 1.0, 1.0, 0.0) == pytest.approx(averaging_ece(np.inf, 1.0, 1.0, 0.0), rel=1e-5)
    assert averaging_ece(1.0, 1.0, 1.0, 1e4) > 0.1  # extreme over-confidence, no overflow


def test_derivations_end_in_the_shipped_functions() -> None:
    calibrating = derive_calibrating_alpha().verify().result
    (rho,) = calibrating.free_symbols
    for value in (0.55, 0.8, 0.999):
        assert float(calibrating.subs(rho, value)) == pytest.approx(calibrating_alpha(value), rel=1e-12)
    multiplier = derive_logit_multiplier().verify().result
    (alpha,) = multiplier.free_symbols
    for value in (1e-3, 1.0, 40.0):
        assert float(multiplier.subs(alpha, value)) == pytest.approx(logit_multiplier(value), rel=1e-14)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: calibrating_alpha(0.49), "no alpha calibrates, because mixup multiplies the logit by s"),
        (lambda: calibrating_alpha([0.9, 0.3]), "got 0.3: no alpha calibrates"),
        (lambda: calibrating_alpha(1.01), "not over-confident"),
        (lambda: calibrating_alpha(0.0), "`rho` must be"),
        (lambda: calibrating_alpha(np.nan), "`rho` must be"),
        (lambda: averaging_ece(1.0, 0.0, 1.0, 0.5), "`norm_squared` must be"),
        (lambda: averaging_ece(1.0, 1.0, 0.0, 0.5), "`sigma` must be"),
        (lambda: averaging_ece(1.0, 1.0, 1.0, -0.5), "`aspect` must be"),
        (lambda: averaging_ece(-1.0, 1.0, 1.0, 0.5), "`alpha` must be"),
        (lambda: mixup_average([[1.0]], [0.5], 1.0), "`y` must hold"),
        (lambda: mixup_average([[1.0]], [1, -1], 1.0), "`y` must hold"),
    ],
)
def test_bad_input(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
