"""Cross-entropy along segments: printed numbers, mpmath, torch's own loss, and the networks of D.2."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import mpmath as mp
import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import beta as beta_function
from scipy.special import expit, logit
from torch import nn

from mixup_theory import segments
from mixup_theory.cross_entropy import (
    best_linear_logit,
    cross_entropy,
    cross_entropy_floor,
    cross_entropy_penalty,
    linear_logit_cross_entropy,
    probability_chord_deviation,
    probability_label_deviation,
)
from mixup_theory.quadrature import expect_pieces
from mixup_theory.segments import segment_paths


def random_network(seed: int, sizes: tuple[int, ...], scale: float = 1.0) -> list:
    rng = np.random.default_rng(seed)
    return [(scale * rng.normal(size=(b, a)) * np.sqrt(2 / a), 0.3 * rng.normal(size=b)) for a, b in pairwise(sizes)]


def segments_of(seed: int, num_inputs: int, num_classes: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    xi, xj = rng.normal(size=(2, 5, num_inputs))
    yi, yj = rng.dirichlet(np.ones(num_classes), size=(2, 5))
    return xi, xj, yi, yj


def test_cross_entropy_is_that_of_torch() -> None:
    rng = np.random.default_rng(0)
    logits, labels = 20 * rng.normal(size=(2, 50, 4)), rng.dirichlet(np.ones(4), size=(2, 50))
    loss = nn.CrossEntropyLoss(reduction="none")
    expected = loss(torch.from_numpy(logits[0]), torch.from_numpy(labels[0]))
    np.testing.assert_allclose(cross_entropy(logits[0], labels[0]), expected, rtol=1e-12)
    binary = nn.BCEWithLogitsLoss(reduction="none")
    one, soft = logits[0][:, :1], labels[0][:, :1]
    expected = binary(torch.from_numpy(one), torch.from_numpy(soft))[:, 0]
    np.testing.assert_allclose(cross_entropy(one, soft), expected, rtol=1e-12)


def test_the_best_linear_logits_of_theory() -> None:
    for alpha, slope, excess in (
        (1.0, 2.59968190831, 0.004947005633),
        (0.4, 3.05059242610, 0.0135732724289),
        (3.0, 2.26300607983, 0.000622000010),
    ):
        got = best_linear_logit(alpha)
        assert got[0] == pytest.approx(slope, rel=5e-12)
        assert got[1] == pytest.approx(excess, abs=6e-13)


@pytest.mark.parametrize("alpha", [0.02, 0.4, 19.0, 21.0, 200.0])
def test_the_best_linear_logit_by_mpmath(alpha: float) -> None:
    """Excess as E KL and its derivative in k, at 30 digits in the substituted variable."""
    slope, excess = best_linear_logit(alpha)
    with mp.workdps(30):
        a, k = mp.mpf(alpha), mp.mpf(slope)
        power = min(a, mp.mpf(1))

        def mean(g: Callable[[mp.mpf], mp.mpf]) -> mp.mpf:
            def weighted(y: mp.mpf) -> mp.mpf:
                x = y ** (1 / power)
                return g(x) * x ** (a - power) * (1 - x) ** (a - 1) / power

            cuts = [(mp.mpf(n) / 32) ** power for n in range(17)]
            return 2 * mp.quad(weighted, cuts, maxdegree=8) / mp.beta(a, a)

        def kl(x: mp.mpf) -> mp.mpf:
            z = k * (2 * x - 1)
            negative_entropy = (x * mp.log(x) if x else 0) + (1 - x) * mp.log(1 - x)
            return negative_entropy + mp.log1p(mp.exp(z)) - x * z

        assert excess == pytest.approx(float(mean(kl)), rel=1e-9)
        gradient = mean(lambda x: (2 * x - 1) * (mp.tanh(k * (2 * x - 1) / 2) - (2 * x - 1)))
        assert abs(float(gradient)) < 2e-14


def test_best_linear_logit_at_the_limits() -> None:
    assert best_linear_logit(0.0) == (np.inf, 0.0)
    assert best_linear_logit(np.inf) == (2.0, 0.0)
    slopes, excesses = zip(*(best_linear_logit(a) for a in (1e-8, 1e-4, 1e-2, 1.0, 1e2, 1e4, 1e6)), strict=True)
    assert all(np.diff(slopes) < 0)
    assert slopes[-1] == pytest.approx(2 + 1e-6, abs=1e-8)  # 2 + 2 E u^4 / (3 E u^2) = 2 + 2 / (2 alpha + 3)
    assert min(excesses) > 0
    # KL = (p/2) E(2u^3/3 - 2 sd^2 u)^2 with p = 1/4 and u normal of variance 1/(2 alpha): sd^6/3
    assert excesses[-1] * 1e18 == pytest.approx(1 / 24, rel=1e-5)


def test_the_floor_is_attained_by_the_chord_only() -> None:
    """Quadrature of the binary entropy, and any other logit pays more by its KL."""
    for alpha in (0.3, 1.0, 6.0):
        entropy = expect_pieces(lambda t: -t * np.log(np.maximum(t, 1e-300)) * 2, alpha, [0, 1e-4, 0.02, 0.2, 1], 64)
        assert cross_entropy_floor(alpha) == pytest.approx(entropy, rel=1e-6)
        slope, excess = best_linear_logit(alpha)
        best = linear_logit_cross_entropy(slope, -slope, 1, 0, alpha)
        assert best - cross_entropy_floor(alpha) == pytest.approx(excess, rel=1e-9)
        for other in (0.9 * slope, 1.1 * slope):
            assert linear_logit_cross_entropy(other, -other, 1, 0, alpha) > best
        assert linear_logit_cross_entropy(slope + 0.3, -slope + 0.3, 1, 0, alpha) > best


@pytest.mark.parametrize("alpha", [0.1, 0.4, 3.0])
@pytest.mark.parametrize(("zi", "zj"), [(2.0, -1.5), (0.0, 0.0), (40.0, -35.0), (3.0, 8.0)])
def test_linear_logits_against_split_quadrature(zi: float, zj: float, alpha: float) -> None:
    def loss(t: np.ndarray) -> np.ndarray:
        z = t * zi + (1 - t) * zj
        return np.logaddexp(0, z) - (0.9 * t + 0.2 * (1 - t)) * z

    cuts = np.linspace(0, 1, 41)
    expected = expect_pieces(loss, alpha, cuts)
    assert linear_logit_cross_entropy(zi, zj, 0.9, 0.2, alpha) == pytest.approx(expected, rel=1e-12)


def test_linear_logits_broadcast_and_have_limits() -> None:
    table = linear_logit_cross_entropy([2.0, -1.0], -1.5, 1, [0, 1], 0.4)
    assert table.shape == (2,)
    assert table[0] == pytest.approx(0.40687117228607733, rel=1e-13)
    ends = (np.logaddexp(0, -2.0) + np.logaddexp(0, -1.5)) / 2
    assert linear_logit_cross_entropy(2.0, -1.5, 1, 0, 0.0) == pytest.approx(ends, rel=1e-15)
    assert linear_logit_cross_entropy(2.0, -1.5, 1, 0, np.inf) == pytest.approx(
        np.logaddexp(0, 0.25) - 0.125, rel=1e-15
    )
    assert isinstance(linear_logit_cross_entropy(2.0, -1.5, 1, 0, 1.0), float)


@pytest.mark.parametrize("alpha", [0.0, 1e-6, 0.2, 5.0, 300.0, np.inf])
@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_networks_against_quadrature_one_segment_at_a_time(scale: float, alpha: float) -> None:
    """The scalar splitter of quadrature.py, with the knots and 100 cuts more, on direct forward values."""
    network = random_network(1, (3, 8, 7, 4), scale)
    xi, xj, yi, yj = segments_of(2, 3, 4)
    got = cross_entropy_penalty(network, xi, xj, yi, yj, alpha)
    spread = probability_chord_deviation(network, xi, xj, alpha)
    for s in range(3):

        def logits(t: np.ndarray, s: int = s) -> np.ndarray:
            h = t[:, None] * xi[s] + (1 - t[:, None]) * xj[s]
            for weight, bias in network[:-1]:
                h = np.maximum(h @ weight.T + bias, 0)
            return h @ network[-1][0].T + network[-1][1]

        def loss(t: np.ndarray, s: int = s) -> np.ndarray:
            z = logits(t)
            label = t[:, None] * yi[s] + (1 - t[:, None]) * yj[s]
            return np.log(np.exp(z).sum(axis=1)) - (label * z).sum(axis=1)

        def square(t: np.ndarray) -> np.ndarray:
            p, ends = (np.exp(logits(v)) for v in (t, np.array([0.0, 1.0])))
            p, ends = p / p.sum(axis=1, keepdims=True), ends / ends.sum(axis=1, keepdims=True)
            return ((p - t[:, None] * ends[1] - (1 - t[:, None]) * ends[0]) ** 2).sum(axis=1)

        cuts = np.unique(np.concatenate([segment_paths(network, xi[[s]], xj[[s]]).knots, np.linspace(0, 1, 101)]))
        cuts = cuts[np.append(True, np.diff(cuts) > 1e-12)]
        cuts[-1] = 1
        assert got[s] == pytest.approx(expect_pieces(loss, alpha, cuts, 16), rel=1e-11)
        assert spread[s] == pytest.approx(expect_pieces(square, alpha, cuts, 16), rel=1e-9, abs=1e-28)


def test_one_logit_is_binary() -> None:
    network = random_network(3, (3, 6, 1))
    xi, xj, *_ = segments_of(4, 3, 2)
    binary = cross_entropy_penalty(network, xi, xj, 1, 0, 0.7)
    (w0, b0), (w1, b1) = network
    two = [(w0, b0), (np.concatenate([w1, 0 * w1]), np.append(b1, 0.0))]
    rows = np.tile([1.0, 0.0], (5, 1))
    np.testing.assert_allclose(binary, cross_entropy_penalty(two, xi, xj, rows, 1 - rows, 0.7), rtol=1e-12)
    np.testing.assert_allclose(
        probability_chord_deviation(network, xi, xj, 0.7), probability_chord_deviation(two, xi, xj, 0.7), rtol=1e-12
    )


def test_the_penalty_never_falls_below_the_floor() -> None:
    network = random_network(5, (3, 30, 1))
    xi, xj, *_ = segments_of(6, 3, 2)
    assert np.all(cross_entropy_penalty(network, xi, xj, 1, 0, 0.5) > cross_entropy_floor(0.5))


def test_the_chord_of_probabilities_is_reached_by_the_log_odds() -> None:
    """A fine ReLU interpolation of ln(t/(1-t)) comes near the floor; its probabilities are nearly straight."""
    t = expit(np.linspace(-9, 9, 400))
    slopes = np.diff(logit(t)) / np.diff(t)
    outer = np.diff(slopes, prepend=0.0)
    network = [(np.ones((399, 1)), -t[:-1]), (outer[None], [logit(t[0])])]
    loss = cross_entropy_penalty(network, [[1.0]], [[0.0]], 1, 0, 1.0)[0]
    assert 0 < loss - cross_entropy_floor(1.0) < 1e-4
    assert probability_chord_deviation(network, [[1.0]], [[0.0]], 1.0)[0] < 1e-6


def test_groups_carry_their_own_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    network = random_network(7, (3, 8, 4))
    xi, xj, yi, yj = segments_of(8, 3, 4)
    whole = cross_entropy_penalty(network, xi, xj, yi, yj, 0.5)
    spread = probability_chord_deviation(network, xi, xj, 0.5)
    monkeypatch.setattr(segments, "CHUNK_ENTRIES", 50)
    np.testing.assert_allclose(cross_entropy_penalty(network, xi, xj, yi, yj, 0.5), whole, rtol=1e-12)
    np.testing.assert_allclose(probability_chord_deviation(network, xi, xj, 0.5), spread, rtol=1e-12)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"got GELU.*smooth_penalty"):
        cross_entropy_penalty(nn.Sequential(nn.Linear(1, 1), nn.GELU()), [[1.0]], [[0.0]], 1, 0, 1.0)
    with pytest.raises(ValueError, match="`yi` must be in"):
        linear_logit_cross_entropy(1.0, 0.0, 1.2, 0, 1.0)
    with pytest.raises(ValueError, match="`zi` must be"):
        linear_logit_cross_entropy(np.inf, 0.0, 1, 0, 1.0)
    for function in (best_linear_logit, cross_entropy_floor):
        with pytest.raises(ValueError, match="`alpha` must be"):
            function(-0.1)


def test_one_logit_is_two_classes_for_the_label_deviation() -> None:
    rng = np.random.default_rng(4)
    hidden, out = (rng.normal(size=(6, 3)), rng.normal(size=6)), (rng.normal(size=(1, 6)), rng.normal(size=1))
    two = [hidden, (np.vstack([out[0], 0 * out[0]]), np.append(out[1], 0.0))]  # softmax(z, 0) is (p, 1 - p)
    xi, xj = rng.normal(size=(2, 4, 3))
    yi, yj = np.array([1.0, 0.0, 1.0, 0.3]), np.array([0.0, 1.0, 1.0, 0.0])
    rows = [np.stack([y, 1 - y], axis=1) for y in (yi, yj)]
    np.testing.assert_allclose(
        probability_label_deviation([hidden, out], xi, xj, yi, yj, 0.6),
        probability_label_deviation(two, xi, xj, *rows, 0.6),
        rtol=1e-11,
    )


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
            density = (t * (1 - t)) ** 0.7 / beta_function(1.7, 1.7)
            return np.sum((p - t * yi[s] - (1 - t) * yj[s]) ** 2) * density

        expected, _ = quad(square, 0, 1, limit=400, epsabs=1e-7, epsrel=1e-7)
        assert got[s] == pytest.approx(expected, rel=1e-6)
