"""Mixing a batch: partner laws, lam conventions, arrays and tensors, and the exchange identities of theory A.3, A.6."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
import torch

from mixup_theory import mixing, weights
from mixup_theory.laws import Fixed
from mixup_theory.quadrature import expect


def test_partner_laws_are_what_they_say() -> None:
    rng = np.random.default_rng(0)
    assert mixing.draw_partner(rng, 4, "flip").tolist() == [3, 2, 1, 0]
    assert mixing.draw_partner(rng, 4, "roll").tolist() == torch.roll(torch.arange(4), 1).tolist()
    draws = 24_000
    counts = Counter(tuple(mixing.draw_partner(rng, 4, "permutation")) for _ in range(draws))
    assert set(counts) == set(permutations(range(4)))
    spread = np.sqrt(draws / 24)
    assert all(abs(c - draws / 24) < 6 * spread for c in counts.values())
    counts = Counter(tuple(mixing.draw_partner(rng, 4, "derangement")) for _ in range(draws))
    wanted = {p for p in permutations(range(4)) if all(i != j for i, j in enumerate(p))}
    assert set(counts) == wanted
    assert all(abs(c - draws / 9) < 6 * np.sqrt(draws / 9) for c in counts.values())
    fixed = np.mean([mixing.draw_partner(rng, 4, "independent") == np.arange(4) for _ in range(draws)])
    assert abs(fixed - 0.25) < 6 * np.sqrt(0.25 * 0.75 / (4 * draws))


def test_lam_conventions() -> None:
    rng = np.random.default_rng(1)
    assert len(set(mixing.draw_lam(rng, 6, 0.4, "batch"))) == 1
    assert len(set(mixing.draw_lam(rng, 6, 0.4, "sample"))) == 6
    pair = mixing.draw_lam(rng, 6, 0.4, "pair")
    np.testing.assert_array_equal(pair, pair[::-1])
    assert mixing.draw_lam(rng, 200, 0.4, "sample", lam_max=True).min() >= 0.5
    assert set(mixing.draw_lam(rng, 3, Fixed(0.2))) == {0.2}


@pytest.mark.parametrize("partner", mixing.PARTNERS)
@pytest.mark.parametrize("lam_per", ["batch", "sample"])
@pytest.mark.parametrize("lam_max", [False, True])
def test_labels_fed_in_as_inputs_come_out_equal(partner: str, lam_per: str, lam_max: bool) -> None:
    y = np.array([0, 2, 1, 1, 0, 2])
    rng = np.random.default_rng(2)
    batch = mixing.mix(np.eye(3)[y], y, 0.7, rng, partner=partner, lam_per=lam_per, lam_max=lam_max, num_classes=3)
    np.testing.assert_array_equal(batch.x, batch.y)


def test_numpy_and_torch_agree_bit_for_bit() -> None:
    x = np.random.default_rng(3).normal(size=(6, 2, 3)).astype(np.float32)
    y = np.array([0, 1, 1, 0, 1, 0])
    a = mixing.mix(x, y, 0.3, np.random.default_rng(4), lam_per="sample", num_classes=2)
    b = mixing.mix(
        torch.from_numpy(x), torch.from_numpy(y), 0.3, np.random.default_rng(4), lam_per="sample", num_classes=2
    )
    assert b.x.dtype == torch.float32
    np.testing.assert_array_equal(a.x, b.x.numpy())
    np.testing.assert_array_equal(a.y, b.y.numpy())


def test_endpoints_return_the_originals_exactly() -> None:
    x = np.random.default_rng(5).normal(size=(8, 3))
    batch = mixing.mix(x, x, 0.0, np.random.default_rng(6), lam_per="sample")
    rows = {tuple(row) for row in x}
    assert all(tuple(row) in rows for row in batch.x)
    np.testing.assert_array_equal(mixing.blend(x, 1.0, np.arange(8)[::-1]), x)


def test_one_lam_keeps_the_batch_mean_exactly() -> None:
    x = np.random.default_rng(7).normal(size=(9, 4))
    for seed in range(20):
        batch = mixing.mix(x, x, 1.0, np.random.default_rng(seed))
        np.testing.assert_allclose(batch.x.mean(axis=0), x.mean(axis=0), atol=1e-15)


def test_total_weight_of_an_example_theory_a3() -> None:
    """Per-sample lam: the weight lam_k + 1 - lam_{pi^-1(k)} has variance 2 Var lam, with max 2 Var lam'."""
    rng, n, draws = np.random.default_rng(8), 8, 40_000
    for lam_max, variance in [(False, weights.var_lam(1.0)), (True, weights.var_max_lam(1.0))]:
        totals = np.empty(draws)
        for k in range(draws):
            partner = mixing.draw_partner(rng, n, "roll")
            lam = mixing.draw_lam(rng, n, 1.0, "sample", lam_max)
            totals[k] = lam[0] + np.sum((1 - lam)[partner == 0])
        assert totals.min() >= (0.5 if lam_max else 0)
        error = 6 * np.sqrt(np.var((totals - 1) ** 2) / draws)
        assert abs(np.mean((totals - 1) ** 2) - 2 * variance) < error


def test_max_changes_nothing_in_expectation() -> None:
    """Mixed cross-entropy over all ordered pairs with lam and with max(lam, 1 - lam): theory A.3, point 1."""
    x, y = np.array([-1.3, 0.2, 0.9, 2.1]), np.array([0.0, 1.0, 0.0, 1.0])

    def risk(t: np.ndarray) -> np.ndarray:
        t = t[:, None, None]
        xm = t * x[:, None] + (1 - t) * x[None, :]
        z = 1.7 * np.tanh(0.8 * xm - 0.3)
        return (np.logaddexp(0, z) - (t * y[:, None] + (1 - t) * y[None, :]) * z).mean(axis=(1, 2))

    plain = expect(risk, 0.6, 128)
    assert expect(lambda t: risk(np.maximum(t, 1 - t)), 0.6, 128) == pytest.approx(plain, rel=1e-12)


def test_size_biased_identity_theory_a6() -> None:
    x, y = np.array([-1.0, 0.4, 1.9]), np.array([0.0, 1.0, 1.0])
    for alpha in (0.3, 1.0, 3.0):
        total = expect(lambda t: _pair_terms(t, x, y, both=True), alpha, 96)
        biased = expect(lambda t: 2 * t * _pair_terms(t, x, y, both=False), alpha, 96)
        assert biased == pytest.approx(total, rel=1e-11)


def _pair_terms(t: np.ndarray, x: np.ndarray, y: np.ndarray, *, both: bool) -> np.ndarray:
    """Mean over ordered pairs of the mixed loss, or of the first label's loss alone."""
    t = t[:, None, None]
    z = np.sin(t * x[:, None] + (1 - t) * x[None, :])
    loss = lambda label: np.logaddexp(0, z) - label * z  # noqa: E731
    first = loss(y[:, None])
    return (t * first + (1 - t) * loss(y[None, :]) if both else first).mean(axis=(1, 2))


def test_mix_many_shrinks_by_the_dirichlet_factor() -> None:
    rng = np.random.default_rng(9)
    x = rng.normal(size=(20_000, 1))
    batch = mixing.mix_many(x, x, 1.0, rng, num_mixed=3, partner="independent")
    ratio = batch.x.var() / x.var()
    assert abs(ratio - 0.5) < 0.03
    np.testing.assert_array_equal(batch.x, batch.y)
    assert batch.partner.shape == (20_000, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.array([0, 1])}, "same length, got 4 and 2"),
        ({"y": np.array([0, 1, 2, 1])}, "`y` must be in 0..1, got 2"),
        ({"y": np.array([0, -1, 1, 1])}, "`y` must be in 0..1, got -1"),
        ({"num_classes": None}, "`num_classes` must be given"),
        ({"x": np.zeros((0, 2))}, "at least one example"),
        ({"x": np.zeros((4, 2), dtype=np.float16)}, "must be float32 or float64, got float16"),
        ({"x": torch.zeros((4, 2), dtype=torch.float16)}, "must be float32 or float64, got torch.float16"),
        ({"x": np.zeros((4, 2), dtype=np.uint8)}, "must be float32 or float64, got uint8"),
        ({"x": [[1.0], [2.0]]}, "must be a numpy array or a torch tensor, got list"),
        ({"alpha": -0.1}, "`alpha` must be a number >= 0"),
        ({"alpha": "1"}, "`alpha` must be a number >= 0"),
        ({"alpha": float("nan")}, "`alpha` must be a number >= 0"),
        ({"partner": "nearest"}, "`partner` must be one of independent"),
        ({"lam_per": "epoch"}, "`lam_per` must be one of batch"),
    ],
)
def test_bad_input_is_named(change: dict, message: str) -> None:
    good = {"x": np.zeros((4, 2)), "y": np.array([0, 1, 0, 1]), "alpha": 1.0, "num_classes": 2}
    arguments = good | change
    with pytest.raises(ValueError, match=message):
        mixing.mix(
            arguments.pop("x"), arguments.pop("y"), arguments.pop("alpha"), np.random.default_rng(0), **arguments
        )


def test_laws_that_do_not_fit_the_batch_are_named() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="must be even for partner 'flip', got 3"):
        mixing.draw_partner(rng, 3, "flip")
    with pytest.raises(ValueError, match="must be even for lam_per 'pair', got 3"):
        mixing.draw_lam(rng, 3, 1.0, "pair")
    with pytest.raises(ValueError, match="`n` must be a whole number >= 2, got 1"):
        mixing.draw_partner(rng, 1, "derangement")
    with pytest.raises(ValueError, match="random law for num_mixed > 2"):
        mixing.mix_many(np.eye(4), np.eye(4), 1.0, rng, num_mixed=3, partner="roll")
    with pytest.raises(ValueError, match="must have length 2"):
        mixing.blend(np.eye(2), np.array([0.5, 0.5, 0.5]), [0, 1])
