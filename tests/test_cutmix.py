"""Mask covariances against enumeration of every box, quadrature on the circle, and simulation."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from mixup_theory.covariance import loewner_gap
from mixup_theory.cutmix import (
    cutmix_agreement,
    cutmix_circular_cov_factor,
    label_agreement,
    majorisation_slack,
    mask_agreement,
    mask_agreement_estimate,
    masked_covariance,
    sample_cutmix_masks,
)

SHAPES = [(4, 4), (5, 3), (6, 4), (1, 7)]


def reference_mask(height, width, lam, cy, cx):
    """The box of the published code, `rand_bbox`, for one weight and one centre."""
    cut_h, cut_w = int(height * np.sqrt(1 - lam)), int(width * np.sqrt(1 - lam))
    mask = np.ones((height, width))
    rows = slice(np.clip(cy - cut_h // 2, 0, height), np.clip(cy + cut_h // 2, 0, height))
    columns = slice(np.clip(cx - cut_w // 2, 0, width), np.clip(cx + cut_w // 2, 0, width))
    mask[rows, columns] = 0
    return mask


def enumerate_boxes(height, width, alpha):
    """All masks and their probabilities: lam between the values where a side changes by one pixel."""
    ratios = sorted({i / height for i in range(height + 1)} | {j / width for j in range(width + 1)})
    masks, chances = [], []
    for low, high in pairwise(ratios):
        chance = stats.beta.cdf(high**2, alpha, alpha) - stats.beta.cdf(low**2, alpha, alpha)
        lam = 1 - ((low + high) / 2) ** 2
        for cy in range(height):
            for cx in range(width):
                masks.append(reference_mask(height, width, lam, cy, cx))
                chances.append(chance / (height * width))
    return np.array(masks), np.array(chances)


@pytest.mark.parametrize("alpha", [0.1, 1.0, 6.0])
@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_clipped_box_equals_enumeration(height, width, alpha):
    masks, chances = enumerate_boxes(height, width, alpha)
    expected = mask_agreement(masks, chances)
    got = cutmix_agreement(alpha, height, width)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-13)
    np.testing.assert_allclose(np.diag(got), 1.0, rtol=1e-14)
    area = masks.mean(axis=(1, 2))
    flat = masks.reshape(len(masks), -1)
    cross = chances @ (flat * area[:, None] + (1 - flat) * (1 - area)[:, None])
    np.testing.assert_allclose(label_agreement(got), cross, rtol=1e-12)
    np.testing.assert_allclose(got.mean(), chances @ (area**2 + (1 - area) ** 2), rtol=1e-12)


def test_clipped_box_limits():
    for alpha, near in ((0.0, 1e-9), (np.inf, 1e7)):
        np.testing.assert_allclose(cutmix_agreement(alpha, 6, 4), cutmix_agreement(near, 6, 4), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(6, 4), (5, 5)])
def test_sampled_masks_follow_the_exact_law(height, width):
    masks = sample_cutmix_masks(np.random.default_rng(0), 20000, 0.7, height, width)
    estimate, standard_error = mask_agreement_estimate(masks)
    exact = cutmix_agreement(0.7, height, width)
    np.testing.assert_allclose(standard_error, np.sqrt(exact * (1 - exact) / 20000), atol=5e-4)
    assert np.all(np.abs(estimate - exact) <= 6 * standard_error + 1e-12)


def test_standard_error_of_soft_masks():
    masks = np.random.default_rng(1).uniform(size=(50, 3))
    values = masks[:, :, None] * masks[:, None] + (1 - masks)[:, :, None] * (1 - masks)[:, None]
    estimate, standard_error = mask_agreement_estimate(masks)
    np.testing.assert_allclose(estimate, values.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(standard_error, values.std(axis=0, ddof=1) / np.sqrt(50), rtol=1e-10)


def test_masked_covariance_equals_enumeration():
    rng = np.random.default_rng(2)
    x, masks, chances = rng.normal(size=(4, 3)), rng.normal(size=(5, 3)), np.array([0.1, 0.2, 0.3, 0.1, 0.3])
    z = masks[:, None, None] * x[:, None] + (1 - masks)[:, None, None] * x  # [mask, i, j, d]
    z = z - x.mean(axis=0)
    expected = np.einsum("m,mijp,mijq->pq", chances, z, z) / 16
    got = masked_covariance(np.cov(x, rowvar=False, bias=True), mask_agreement(masks, chances))
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_pixel_variances_do_not_shrink_and_the_spectrum_is_compressed():
    rng = np.random.default_rng(3)
    for _ in range(50):
        root = rng.normal(size=(6, 6))
        covariance = root @ root.T
        mixed = masked_covariance(covariance, mask_agreement(rng.integers(0, 2, size=(8, 6))))
        np.testing.assert_allclose(np.diag(mixed), np.diag(covariance), rtol=1e-12)
        slack = majorisation_slack(covariance, mixed)
        assert np.all(slack > -1e-10)
        assert abs(slack[-1]) < 1e-10
        assert loewner_gap(covariance, mixed) < 0  # indefinite: trace zero, not zero
        before, after = np.linalg.eigvalsh(covariance), np.linalg.eigvalsh(mixed)
        assert after[0] > before[0] - 1e-12
        assert after[-1] < before[-1] + 1e-12


@pytest.mark.parametrize("alpha", [0.5, 1.0, 3.0, 40.0])
@pytest.mark.parametrize("delta", [0.0, 0.1, 0.35, 0.5])
def test_circle_against_quadrature(alpha, delta):
    """Average 1 - 2 min(delta, length, 1 - length) over lengths = sin^2(angle), which tames the ends."""
    middle = stats.beta(alpha, alpha).pdf(0.5)

    def integrand(angle):
        length = np.sin(angle) ** 2
        density = middle * np.sin(2 * angle) ** (2 * alpha - 1)  # of the angle
        return density * (1 - 2 * min(delta, length, 1 - length))

    edges = [0.0, np.arcsin(np.sqrt(delta)), np.pi / 4, np.arcsin(np.sqrt(1 - delta)), np.pi / 2]
    total = sum(quad(integrand, a, b, epsabs=1e-13)[0] for a, b in pairwise(edges))
    np.testing.assert_allclose(cutmix_circular_cov_factor(alpha, delta), total, rtol=1e-10)


def test_circle_counted_on_a_ring():
    """One window length at a time: arcs of 7 on a ring of 30 pixels, all positions."""
    masks = np.array([[(k - start) % 30 < 7 for k in range(30)] for start in range(30)], dtype=float)
    agreement = mask_agreement(masks)[0]
    expected = [1 - 2 * min(d, 30 - d, 7) / 30 for d in range(30)]
    np.testing.assert_allclose(agreement, expected, rtol=1e-12)


def test_circle_limits():
    deltas = np.array([0.0, 0.2, 0.5])
    np.testing.assert_allclose(cutmix_circular_cov_factor(0.0, deltas), 1.0)
    np.testing.assert_allclose(cutmix_circular_cov_factor(1e-9, deltas), 1.0, atol=1e-7)
    np.testing.assert_allclose(cutmix_circular_cov_factor(np.inf, deltas), 1 - 2 * deltas)
    np.testing.assert_allclose(cutmix_circular_cov_factor(1e8, deltas), 1 - 2 * deltas, atol=1e-3)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: cutmix_agreement(-1.0, 4, 4), "alpha"),
        (lambda: cutmix_agreement([1.0, 2.0], 4, 4), "one number"),
        (lambda: cutmix_agreement(1.0, 0, 4), "height"),
        (lambda: mask_agreement([[1.0, 0.0]], [0.5]), "probabilities"),
        (lambda: mask_agreement([[1.0, np.nan]]), "finite"),
        (lambda: mask_agreement_estimate([[1.0, 0.0]]), "at least 2"),
        (lambda: masked_covariance(np.eye(2), np.eye(3)), "agreement"),
        (lambda: cutmix_circular_cov_factor(1.0, 0.6), "delta"),
        (lambda: sample_cutmix_masks(np.random.default_rng(0), 0, 1.0, 4, 4), "size"),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()
