"""Image batches: moves and boxes pixel by pixel, and labels that follow them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from mixup_theory.cutmix import cutmix_agreement, label_agreement
from mixup_theory.experiments.batches import Batches
from mixup_theory.experiments.config import RunConfig
from mixup_theory.experiments.datasets import Streams
from mixup_theory.experiments.draws import draw_epoch, stack_draws
from mixup_theory.experiments.image_batches import ImageBatches, flip_crop, keep_masks
from mixup_theory.mixing import PARTNERS
from mixup_theory.weights import shrink_factor

CLASSES, SHAPE, POINTS, SIZE, RUNS = 4, (4, 8, 8), 48, 6, 3
CUTMIX = RunConfig(method="cutmix", alpha=1.0)


def test_flip_and_shift_pixel_by_pixel():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(20, 2, 5, 6))
    moves = np.concatenate([rng.integers(0, 2, (20, 1)), rng.integers(-2, 3, (20, 2))], axis=1)
    result = flip_crop(torch.tensor(images), torch.tensor(moves)).numpy()
    for image, (flip, down, across), out in zip(images, moves, result, strict=True):
        turned = np.pad(image[:, :, ::-1] if flip else image, ((0, 0), (2, 2), (2, 2)))
        np.testing.assert_array_equal(out, turned[:, 2 + down : 7 + down, 2 + across : 8 + across])


def test_masks_pixel_by_pixel():
    boxes = np.array([[0, 0, 0, 0], [0, 5, 0, 6], [1, 3, 2, 6], [4, 5, 0, 1]])
    masks = keep_masks(torch.tensor(boxes), 5, 6, torch.float64).numpy()
    for (top, bottom, left, right), mask in zip(boxes, masks, strict=True):
        expected = np.ones((1, 5, 6))
        expected[:, top:bottom, left:right] = 0
        np.testing.assert_array_equal(mask, expected)


def epochs(configs, shape=SHAPE, x=None, steps=POINTS // SIZE):
    """Yield every batch of one epoch of the given runs: mixed inputs and labels, and the draws."""
    rng = np.random.default_rng(1)
    n = steps * SIZE
    labels = rng.integers(0, CLASSES, (len(configs), n))
    if x is None:  # the label row, on every pixel of an image with one channel per class
        x = np.broadcast_to(np.eye(CLASSES)[labels.ravel()][:, :, None, None], (labels.size, *shape))
    index = np.arange(labels.size).reshape(labels.shape)
    rows = torch.eye(CLASSES, dtype=torch.float64)
    batches = ImageBatches(torch.tensor(x).reshape(len(x), -1), rows, index, labels, SIZE, shape)
    drawn = stack_draws([draw_epoch(c, Streams(r), n, SIZE, 0) for r, c in enumerate(configs)], n)
    batches.start_epoch(drawn)
    for step in range(steps):
        mixed, y = batches.mixed(step)
        yield mixed.view(len(configs), SIZE, *shape), y, drawn, step


@pytest.mark.parametrize(("lam_per", "partner"), [*product(("batch", "sample"), PARTNERS), ("pair", "flip")])
@pytest.mark.parametrize("method", ["mixup", "cutmix"])
def test_labels_fed_in_as_inputs_come_out_as_the_mixed_labels(method, partner, lam_per):
    config = CUTMIX.replace(method=method, partner=partner, lam_per=lam_per)
    configs = [config, config.replace(lam_max=True), config.replace(alpha=0.2)]
    shares = []
    for x, y, _, _ in epochs(configs):
        torch.testing.assert_close(x.mean(dim=(3, 4)), y, rtol=0, atol=1e-14)
        shares.append(((y > 0) & (y < 1)).any(dim=2).double().mean().item())
    assert np.mean(shares) > 0.3


def test_boxes_are_shared_by_those_who_share_lam():
    for lam_per, partner in (("batch", "permutation"), ("sample", "permutation"), ("pair", "flip")):
        drawn = draw_epoch(CUTMIX.replace(lam_per=lam_per, partner=partner), Streams(0), 600, 6, 0)
        top, bottom, left, right = np.moveaxis(drawn.boxes, 2, 0)
        np.testing.assert_allclose(drawn.lam, 1 - (bottom - top) * (right - left) / 64)
        assert np.array_equal(drawn.boxes[:, 0], drawn.boxes[:, 1]) == (lam_per == "batch")
        assert np.array_equal(drawn.boxes, drawn.boxes[:, ::-1]) == (lam_per != "sample")


def test_cutmix_has_the_exact_label_weight_of_the_theory():
    steps = 20_000
    drawn = draw_epoch(CUTMIX.replace(lam_per="sample", alpha=0.7), Streams(0), steps * 2, 2, 0)
    lam = drawn.lam.ravel()
    # theory B.8: E[lam^2 + (1 - lam)^2] is the mean of the agreement matrix
    spread = lam**2 + (1 - lam) ** 2
    expected = label_agreement(cutmix_agreement(0.7, 8, 8)).mean()
    assert abs(spread.mean() - expected) < 6 * spread.std() / np.sqrt(len(lam))


def test_cutmix_keeps_own_pixels_outside_the_box_and_takes_the_partners_inside():
    x = np.random.default_rng(2).normal(size=(2 * POINTS, *SHAPE))
    for mixed, _, drawn, step in epochs([CUTMIX, CUTMIX.replace(lam_per="sample")], x=x):
        for r in range(2):
            for b in range(SIZE):
                row = r * SIZE + b
                expected = x[drawn.position[step, row]].copy()
                other = x[drawn.position[step, drawn.partner[step, row]]]
                top, bottom, left, right = drawn.boxes[step, row]
                expected[:, top:bottom, left:right] = other[:, top:bottom, left:right]
                np.testing.assert_array_equal(mixed[r, b].numpy(), expected)


def test_augmented_images_are_mixed_with_augmented_ones():
    configs = [
        RunConfig(network="cnn", augment="flip-crop", method="mixup", alpha=1.0, lam_per="sample"),
        RunConfig(network="cnn", augment="flip-crop"),
    ]
    x = np.random.default_rng(3).normal(size=(2 * POINTS, 1, 8, 8))
    met = set()
    for mixed, _, drawn, step in epochs(configs, (1, 8, 8), x):
        moved = flip_crop(torch.tensor(x[drawn.position[step]]), torch.tensor(drawn.moves[step])).numpy()
        lam = drawn.lam[step][:, None, None, None]
        expected = lam * moved + (1 - lam) * moved[drawn.partner[step]]
        np.testing.assert_allclose(mixed.flatten(0, 1).numpy(), expected, rtol=1e-13, atol=1e-14)
        assert not np.array_equal(drawn.moves[step][:SIZE], drawn.moves[step][SIZE:])
        met |= set(map(tuple, drawn.moves[step]))
    assert met <= {(f, a, b) for f in (0, 1) for a in (-1, 0, 1) for b in (-1, 0, 1)}
    assert len(met) == 18


def test_without_boxes_and_moves_the_batches_are_those_of_vectors():
    config = RunConfig(method="mixup", alpha=1.0, lam_per="sample")
    x = np.random.default_rng(4).normal(size=(POINTS, 1, 8, 8))
    labels = np.random.default_rng(1).integers(0, CLASSES, (1, POINTS))
    rows = torch.eye(CLASSES, dtype=torch.float64)
    plain = Batches(torch.tensor(x).flatten(1), rows, np.arange(POINTS)[None], labels, SIZE)
    plain.start_epoch(draw_epoch(config, Streams(0), POINTS, SIZE, 0))
    for mixed, y, _, step in epochs([config], (1, 8, 8), x):
        expected_x, expected_y = plain.mixed(step)
        assert torch.equal(mixed.flatten(2), expected_x)
        assert torch.equal(y, expected_y)


def test_recorded_epochs_pass_the_covariance_test_of_the_theory():
    # theory B.6 and B.8: pixel by pixel the covariance of a recorded CutMix epoch is F times that of the images
    steps, side = 3000, 8
    rng = np.random.default_rng(5)
    x = rng.normal(size=(steps * SIZE, 1, side, side)) + rng.normal(size=(steps * SIZE, 1, 1, 1))
    config = CUTMIX.replace(lam_per="sample", partner="derangement")
    mixed = torch.cat([m[0] for m, *_ in epochs([config], (1, side, side), x, steps)]).flatten(1).numpy()
    plain = x.reshape(len(x), -1)
    factor = cutmix_agreement(1.0, side, side)
    for k, l in ((0, 0), (0, 1), (9, 54), (27, 28), (0, 63)):
        product = mixed[:, k] * mixed[:, l]
        expected = factor[k, l] * (plain[:, k] * plain[:, l]).mean()
        assert abs(product.mean() - expected) < 6 * product.std() / np.sqrt(len(product))
    assert abs(factor[0, 63] - shrink_factor(1.0)) > 0.05  # it is not the factor of mixup
