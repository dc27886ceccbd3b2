"""What a run draws has the laws of mixing.py, and depends on its own config alone."""

from __future__ import annotations

import numpy as np
import pytest

from mixup_theory.annealing import Schedule
from mixup_theory.experiments.config import RunConfig
from mixup_theory.experiments.datasets import Streams
from mixup_theory.experiments.draws import draw_epoch, draw_partners, stack_draws
from mixup_theory.mixing import PARTNERS, draw_partner
from mixup_theory.weights import lam_cdf, var_lam

MIXUP = RunConfig(method="mixup", alpha=0.7)


def law(draws):
    values, counts = np.unique(draws, axis=0, return_counts=True)
    return {tuple(value): count / len(draws) for value, count in zip(values, counts, strict=True)}


@pytest.mark.parametrize("partner", PARTNERS)
def test_partners_of_many_batches_have_the_law_of_one(partner):
    many = law(draw_partners(np.random.default_rng(0), 12_000, 4, partner))
    rng = np.random.default_rng(1)
    one = law(np.stack([draw_partner(rng, 4, partner) for _ in range(12_000)]))
    assert many.keys() == one.keys()
    for share in many.values():  # uniform on its support
        assert abs(share - 1 / len(many)) <= 6 * np.sqrt(share * (1 - share) / 12_000)


def test_impossible_partners_are_refused():
    with pytest.raises(ValueError, match="`n` must be even for partner 'flip', got 3"):
        draw_partners(np.random.default_rng(0), 2, 3, "flip")
    with pytest.raises(ValueError, match="`n` must be a whole number >= 2, got 1"):
        draw_partners(np.random.default_rng(0), 2, 1, "derangement")


def test_an_epoch_shows_each_point_at_most_once():
    drawn = draw_epoch(MIXUP, Streams(0), 103, 10, 0)
    assert drawn.position.shape == drawn.partner.shape == drawn.lam.shape == (10, 10)
    assert len(np.unique(drawn.position)) == 100
    assert np.array_equal(np.sort(drawn.partner, axis=1), np.tile(np.arange(10), (10, 1)))


def test_data_order_is_the_same_for_every_method_and_alpha():
    epochs = [
        draw_epoch(config, Streams(5), 40, 8, 0).position
        for config in (RunConfig(), MIXUP, MIXUP.replace(alpha=3.0, lam_per="sample", partner="roll"))
    ]
    assert np.array_equal(epochs[0], epochs[1])
    assert np.array_equal(epochs[0], epochs[2])
    assert not np.array_equal(epochs[0], draw_epoch(RunConfig(), Streams(6), 40, 8, 0).position)


def test_erm_mixes_nothing():
    drawn = draw_epoch(RunConfig(), Streams(0), 20, 5, 0)
    assert np.all(drawn.lam == 1)
    assert np.array_equal(drawn.partner, np.tile(np.arange(5), (4, 1)))


@pytest.mark.parametrize("lam_per", ["batch", "sample"])
def test_lam_has_its_beta_law_and_its_granularity(lam_per):
    lam = draw_epoch(MIXUP.replace(lam_per=lam_per), Streams(1), 40_000, 4, 0).lam
    shared = np.all(lam == lam[:, :1], axis=1)
    assert shared.all() if lam_per == "batch" else not shared.any()
    free = lam[:, 0] if lam_per == "batch" else lam.ravel()
    assert abs(free.mean() - 0.5) < 6 * np.sqrt(var_lam(0.7) / free.size)
    for t in (0.05, 0.3, 0.8):
        p = lam_cdf(t, 0.7)
        assert abs((free < t).mean() - p) < 6 * np.sqrt(p * (1 - p) / free.size)
    larger = draw_epoch(MIXUP.replace(lam_per=lam_per, lam_max=True), Streams(1), 40_000, 4, 0).lam
    np.testing.assert_array_equal(larger, np.maximum(lam, 1 - lam))


def test_pairs_share_lam():
    lam = draw_epoch(MIXUP.replace(lam_per="pair", partner="flip"), Streams(1), 60, 6, 0).lam
    assert np.array_equal(lam, lam[:, ::-1])
    assert len(np.unique(lam)) == 30


def test_schedules_are_read_at_the_time_of_the_step_in_epochs():
    run = MIXUP.replace(alpha=Schedule("step", 50.0, total=2, step=1.5))
    streams = Streams(3)
    first, second = (draw_epoch(run, streams, 4000, 10, epoch).lam[:, 0] for epoch in (0, 1))
    assert np.all((first > 0) & (first < 1))
    assert np.all((second[:200] > 0) & (second[:200] < 1))
    assert np.all(np.isin(second[200:], (0, 1)))  # alpha = 0: mixed with weight 0 or 1
    off = MIXUP.replace(alpha=Schedule("off-at-epoch", 50.0, total=2, step=1))
    streams = Streams(3)
    first, second = (draw_epoch(off, streams, 4000, 10, epoch).lam for epoch in (0, 1))
    assert np.all((first > 0) & (first < 1))
    assert np.all(second == 1)


def test_a_linear_schedule_shrinks_the_spread_of_p_as_it_should():
    run = MIXUP.replace(alpha=Schedule("linear", 2.0, total=4), lam_per="sample")
    streams = Streams(4)
    for epoch in range(4):
        lam = draw_epoch(run, streams, 40_000, 4, epoch).lam
        times = epoch + np.arange(len(lam)) / len(lam)
        expected = np.mean(0.25 - var_lam(2.0 * (1 - times / 4)))  # E lam (1 - lam)
        p = lam * (1 - lam)
        assert abs(p.mean() - expected) < 6 * p.std() / np.sqrt(p.size)


def test_stacked_draws_keep_to_their_run():
    runs = [draw_epoch(MIXUP.replace(seed=s), Streams(s), 20, 5, 0) for s in (1, 2, 3)]
    both = stack_draws(runs, 20)
    for r, own in enumerate(runs):
        part = slice(5 * r, 5 * r + 5)
        assert np.array_equal(both.position[:, part], own.position + 20 * r)
        assert np.array_equal(both.partner[:, part], own.partner + 5 * r)
        assert np.array_equal(both.lam[:, part], own.lam)
        assert np.array_equal(both.label_lam[:, part], own.label_lam)


def test_labels_follow_the_inputs_or_one_of_the_two():
    soft, hard, first = (
        draw_epoch(MIXUP.replace(label_mixing=how, lam_per="sample"), Streams(2), 40_000, 4, 0)
        for how in ("soft", "hard", "first")
    )
    assert np.array_equal(soft.label_lam, soft.lam)
    assert np.array_equal(hard.lam, soft.lam)  # the ablations see the same pairs and the same lam
    assert np.array_equal(hard.partner, soft.partner)
    assert np.array_equal(first.lam, soft.lam)
    assert np.all(first.label_lam == 1)
    assert np.all(np.isin(hard.label_lam, (0, 1)))
    for low in (0.1, 0.5, 0.9):  # y_i is taken with probability lam
        near = np.abs(hard.lam - low) < 0.05
        share, n = hard.label_lam[near].mean(), near.sum()
        assert abs(share - hard.lam[near].mean()) < 6 * np.sqrt(0.25 / n)


def test_manifold_draws_one_state_for_each_batch_and_all_else_as_mixup_does():
    run = MIXUP.replace(method="manifold", mix_layers=(0, 1, 2), lam_per="sample")
    drawn, plain = (draw_epoch(c, Streams(3), 12_000, 4, 0) for c in (run, MIXUP.replace(lam_per="sample")))
    for name in ("position", "partner", "lam", "label_lam"):
        assert np.array_equal(getattr(drawn, name), getattr(plain, name))
    counts = np.bincount(drawn.layer[:, 0], minlength=3)
    assert np.abs(counts - 1000).max() < 6 * np.sqrt(3000 * 2 / 9)
    both = stack_draws([drawn, plain], 12_000)
    assert both.layer.shape == (3000, 2)
    for state in range(3):
        at = both.lam_at(state)
        mixed = drawn.layer[:, 0] == state
        assert np.array_equal(at[mixed, :4], drawn.lam[mixed])
        assert np.all(at[~mixed, :4] == 1)
        assert np.array_equal(at[:, 4:], plain.lam if state == 0 else np.ones_like(plain.lam))
