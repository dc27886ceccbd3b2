"""Moments of Beta(alpha, alpha) over pieces against mpmath's incomplete Beta functions."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest

from mixup_theory.incomplete_moments import density_at_half, piece_weights, small_alpha_weights

NARROW = [(0.2, 0.21), (0.45, 0.5), (1e-9, 1.2e-9), (0.3, 0.3 + 1e-9)]
WIDE = [(1e-9, 2e-9), (0.1, 0.5), (0.3, 0.7), (0.2, 0.9), (1e-6, 0.9)]


def exact(low: float, high: float, alpha: float) -> list[mp.mpf]:
    """The three moments from raw incomplete Beta functions at 60 digits."""
    a, low, high = mp.mpf(alpha), mp.mpf(low), mp.mpf(high)
    m = [mp.betainc(a + k, a, low, high) / mp.beta(a, a) for k in range(3)]
    z1 = (m[1] - low * m[0]) / (high - low)
    z2 = (m[2] - 2 * low * m[1] + low**2 * m[0]) / (high - low) ** 2
    return [m[0] - 2 * z1 + z2, 2 * (z1 - z2), z2]


@pytest.mark.parametrize("alpha", [1e-8, 1e-3, 0.05, 0.3, 0.999, 1.0, 2.5, 40.0, 150.0])
def test_pieces_inside(alpha: float) -> None:
    low, high = np.array(NARROW + WIDE).T
    got = piece_weights(low, high, alpha)
    with mp.workdps(60):
        for row, pair in zip(got, NARROW + WIDE, strict=True):
            wanted = np.array([float(v) for v in exact(*pair, alpha)])
            # relative to the mass of the piece, and entry by entry where it is narrow
            np.testing.assert_allclose(row, wanted, rtol=5e-13 if pair in NARROW else 0, atol=5e-13 * wanted.sum())


@pytest.mark.parametrize("alpha", [1e-8, 0.05, 0.3, 1.0, 2.5, 40.0])
@pytest.mark.parametrize("high", [1e-9, 0.3, 0.8])
def test_pieces_from_the_end(alpha: float, high: float) -> None:
    got = piece_weights([0.0], [high], alpha)[0]
    with mp.workdps(60):
        wanted = np.array([float(v) for v in exact(0.0, high, alpha)])
    if alpha < 1:
        assert got[0] == 0  # to be paired with a function that vanishes at the end
        wanted[0] = 0
    np.testing.assert_allclose(got, wanted, rtol=5e-12)


@pytest.mark.parametrize("alpha", [199.0, 201.0, 1e3, 1e5, 1e6])
def test_large_alpha(alpha: float) -> None:
    """Around 1/2 by the centred variable, integrated with mpmath in steps of a quarter deviation."""
    sd = 0.5 / np.sqrt(2 * alpha + 1)
    pairs = [(0.5 - 3 * sd, 0.5 - 2 * sd), (0.5 - 6 * sd, 0.5 + sd), (0.5, 0.5 + 1e-3 * sd), (0.1, 0.5), (0.01, 0.99)]
    low, high = np.array(pairs).T
    got = piece_weights(low, high, alpha)
    with mp.workdps(25):
        a = mp.mpf(alpha)
        height = 2 * mp.gamma(a + mp.mpf(1) / 2) / (mp.sqrt(mp.pi) * mp.gamma(a))
        for row, (left, right) in zip(got, pairs, strict=True):
            start, stop = max(mp.mpf(left), 0.5 - 16 * mp.mpf(sd)), min(mp.mpf(right), 0.5 + 16 * mp.mpf(sd))
            cuts = mp.linspace(start, stop, int((stop - start) / sd) + 2)

            def moment(k: int, left: float = left, right: float = right, cuts: list = cuts) -> float:
                def g(x: mp.mpf) -> mp.mpf:
                    z = (x - mp.mpf(left)) / (mp.mpf(right) - mp.mpf(left))
                    return [(1 - z) ** 2, 2 * z * (1 - z), z**2][k] * mp.exp((a - 1) * mp.log(4 * x * (1 - x)))

                return float(height * mp.quad(g, cuts, method="gauss-legendre"))

            wanted = np.array([moment(k) for k in range(3)])
            np.testing.assert_allclose(row, wanted, rtol=0, atol=2e-12 * wanted.sum())


@pytest.mark.parametrize("alpha", [1.0, 7.0, 199.0, 201.0, 1e6])
def test_the_moments_of_a_partition_sum_to_one(alpha: float) -> None:
    cuts = np.unique(np.concatenate([np.random.default_rng(0).random(30) / 2, [0, 0.499, 0.5]]))
    assert piece_weights(cuts[:-1], cuts[1:], alpha).sum() == pytest.approx(0.5, rel=1e-13)


def test_the_small_alpha_limit() -> None:
    low, high = np.array([*NARROW, *WIDE, (0.0, 1e-9), (0.0, 0.04), (0.0, 0.8)]).T
    limit = small_alpha_weights(low, high)
    ratio = piece_weights(low, high, 1e-12) / 1e-12
    ratio[low == 0, 0] = 0.0
    np.testing.assert_allclose(limit, ratio, rtol=2e-10, atol=1e-30)
    np.testing.assert_allclose(small_alpha_weights([0.0], [1.0]), [[0, 1, 0]])
    np.testing.assert_allclose(piece_weights([0.0], [1.0], 1e-12)[0, 1] / 1e-12, 1, rtol=1e-11)


def test_density_at_half() -> None:
    with mp.workdps(40):
        for alpha in (1e-8, 0.3, 1.0, 49.9, 50.0, 51.0, 200.0, 9000.0, 1e6):
            a = mp.mpf(alpha)
            wanted = 2 * mp.gamma(a + mp.mpf(1) / 2) / (mp.sqrt(mp.pi) * mp.gamma(a))
            assert density_at_half(alpha) == pytest.approx(float(wanted), rel=3e-14)
