"""Quadrature split at the knots: polynomials by the closed form, softplus by mpmath, limits."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest

from mixup_theory import path_quadrature
from mixup_theory.path_moments import expected_square
from mixup_theory.path_quadrature import expect_on_paths
from mixup_theory.segments import SegmentPaths

ALPHAS = [0.0, 1e-8, 1e-3, 0.4, 1.0, 3.0, 29.0, 31.0, 100.0, 1e4, 1e6, np.inf]
KNOTS = np.array([0, 1e-6, 0.02, 0.35, 0.36, 0.5, 0.61, 0.93, 1])


def paths_of(seed: int, scale: float = 1.0, outputs: int = 2) -> SegmentPaths:
    values = scale * np.random.default_rng(seed).normal(size=(9, outputs))
    line = scale * np.array([[1.0] * outputs, [-2.0] * outputs])
    return SegmentPaths(np.append(KNOTS, [0.0, 1.0]), np.concatenate([values, line]), np.array([0, 9, 11]))


@pytest.mark.parametrize("alpha", ALPHAS)
def test_squares_agree_with_the_closed_form(alpha: float) -> None:
    paths = paths_of(0)
    got = expect_on_paths(paths, lambda t, z, segment: (z**2).sum(axis=1), alpha)
    np.testing.assert_allclose(got, expected_square(paths, alpha), rtol=2e-12)


@pytest.mark.parametrize("alpha", [1e-8, 0.4, 1.0, 3.0, 100.0])
@pytest.mark.parametrize("scale", [0.1, 3.0, 60.0, 1e4])
def test_softplus_of_flat_and_of_steep_lines(alpha: float, scale: float) -> None:
    """One linear logit, against mpmath in the substituted variable, cut densely around its zero."""
    line = SegmentPaths(np.array([0.0, 1.0]), scale * np.array([[-0.3], [0.7]]), np.array([0, 2]))
    got = expect_on_paths(line, lambda t, z, segment: np.logaddexp(0, z[:, 0]), alpha)[0]
    a, zero = mp.mpf(alpha), mp.mpf("0.3")
    if alpha == 1e-8:  # peeled by hand: the Beta(1) expectation of the bulge (theory A.2), to order alpha
        ends = [mp.log1p(mp.exp(-scale * mp.mpf("0.3"))), mp.log1p(mp.exp(scale * mp.mpf("0.7")))]
        assert got == pytest.approx(float(sum(ends) / 2), rel=1e-6)
        return
    power = min(a, mp.mpf(1))
    steps = sorted({zero + s * mp.mpf(w) / scale for s in (-1, 1) for w in (0, 2, 5, 10, 20, 40)})

    def half(mirrored: bool) -> mp.mpf:
        def g(y: mp.mpf) -> mp.mpf:
            x = y ** (1 / power)
            z = scale * ((1 - x if mirrored else x) - zero)
            weight = x ** (a - power) * (1 - x) ** (a - 1) / power
            return (max(z, 0) + mp.log1p(mp.exp(-abs(z)))) * weight

        inner = [1 - s if mirrored else s for s in steps]
        dense = [mp.mpf(k) / 64 for k in range(1, 32)] + [mp.mpf(10) ** -k for k in range(2, 6)]
        cuts = {mp.mpf(0), mp.mpf("0.5"), *dense, *(x for x in inner if 0 < x < 0.5)}
        return mp.quad(g, [x**power for x in sorted(cuts, key=float)], maxdegree=8)

    with mp.workdps(25):
        wanted = (half(False) + half(True)) / mp.beta(a, a)
    assert got == pytest.approx(float(wanted), rel=3e-12)


def test_what_vanishes_with_alpha_keeps_its_digits() -> None:
    """E lam (1 - lam) = alpha / (2 (2 alpha + 1))."""
    for alpha in (1e-8, 1e-4):
        got = expect_on_paths(paths_of(1), lambda t, z, segment: t * (1 - t), alpha)
        np.testing.assert_allclose(got, alpha / (2 * (2 * alpha + 1)), rtol=1e-11)


def test_the_integrand_sees_its_own_segment() -> None:
    paths = paths_of(2, outputs=1)
    got = expect_on_paths(paths, lambda t, z, segment: segment + 0.0 * z[:, 0], 0.7)
    np.testing.assert_allclose(got, [0, 1], atol=1e-14)


def test_groups_of_pieces_do_not_change_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = paths_of(3)

    def integrand(t: np.ndarray, z: np.ndarray, segment: np.ndarray) -> np.ndarray:
        return np.tanh(z[:, 0]) * t

    whole = expect_on_paths(paths, integrand, 0.3)
    monkeypatch.setattr(path_quadrature, "CHUNK_ENTRIES", 1)
    np.testing.assert_allclose(expect_on_paths(paths, integrand, 0.3), whole, rtol=1e-13)


def test_one_alpha_only() -> None:
    with pytest.raises(ValueError, match="`alpha` must be one number"):
        expect_on_paths(paths_of(0), lambda t, z, segment: t, [1.0, 2.0])  # type: ignore[arg-type]
