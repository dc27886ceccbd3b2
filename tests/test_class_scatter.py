"""Class means and scatter of mixed data against enumeration of pairs, weights and sampled labels."""

from __future__ import annotations

import numpy as np
import pytest

from mixup_theory.class_scatter import (
    class_moments,
    class_pair_covariance,
    hard_label_class_moments,
    hard_label_joint_covariance,
    hard_label_scatter,
    same_class_covariance,
    soft_label_scatter,
)
from mixup_theory.covariance import mixed_covariance
from mixup_theory.laws import Beta, Fixed
from mixup_theory.quadrature import gauss_rule

X = np.array([[0.5, 1.0], [-1.0, 0.2], [2.0, -0.7], [3.5, 1.1], [0.1, 0.4], [1.3, -2.0], [-0.4, 0.9]])
Y = np.array([1, 0, 0, 1, 2, 2, 2])
MOMENTS = class_moments(X, Y)


def all_mixtures(alpha):
    """Every (weight, first, second): weights, indices, mixed points, chances; three nodes are exact to degree 5."""
    nodes, weights = gauss_rule(3, alpha)
    i, j = np.meshgrid(np.arange(7), np.arange(7), indexing="ij")
    lam, i, j = np.repeat(nodes, 49), np.tile(i.ravel(), 3), np.tile(j.ravel(), 3)
    return lam, i, j, lam[:, None] * X[i] + (1 - lam[:, None]) * X[j], np.repeat(weights, 49) / 49


def moments_of(z, chance):
    mean = chance @ z / chance.sum()
    return mean, np.einsum("o,op,oq->pq", chance, z - mean, z - mean) / chance.sum()


def test_class_moments_by_hand():
    np.testing.assert_allclose(MOMENTS.total, np.cov(X, rowvar=False, bias=True), rtol=1e-12)
    np.testing.assert_allclose(MOMENTS.share, [2 / 7, 2 / 7, 3 / 7])
    np.testing.assert_allclose(MOMENTS.means[1], X[[0, 3]].mean(axis=0))
    np.testing.assert_allclose(MOMENTS.covariances[2], np.cov(X[Y == 2], rowvar=False, bias=True), rtol=1e-12)


@pytest.mark.parametrize("alpha", [1e-6, 0.3, 1.0, 5.0])
def test_sampled_hard_labels_equal_enumeration(alpha):
    lam, i, j, z, chance = all_mixtures(alpha)
    points = np.concatenate([z, z])
    labels, chances = np.concatenate([Y[i], Y[j]]), np.concatenate([chance * lam, chance * (1 - lam)])
    got = hard_label_class_moments(MOMENTS, alpha)
    for k in range(3):
        mean, covariance = moments_of(points[labels == k], chances[labels == k])
        np.testing.assert_allclose(got.means[k], mean, rtol=1e-11, atol=1e-14)
        np.testing.assert_allclose(got.covariances[k], covariance, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(chances[labels == k].sum(), MOMENTS.share[k], rtol=1e-12)
    within, between = hard_label_scatter(MOMENTS.within, MOMENTS.between, alpha)
    np.testing.assert_allclose(within, got.within, rtol=1e-11)
    np.testing.assert_allclose(between, got.between, rtol=1e-11)
    one_hot, joint = np.eye(3)[labels], np.eye(3)[Y]
    whole = moments_of(np.hstack([points, one_hot]), chances)[1]
    before = np.cov(np.hstack([X, joint]), rowvar=False, bias=True)
    blocks = hard_label_joint_covariance(before[:2, :2], before[:2, 2:], before[2:, 2:], alpha)
    for block, expected in zip(blocks, (whole[:2, :2], whole[:2, 2:], whole[2:, 2:]), strict=True):
        np.testing.assert_allclose(block, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("alpha", [0.3, 1.0, 5.0])
def test_soft_labels_equal_enumeration(alpha):
    """Joint covariance scales by s; conditional on the soft label both scatters do."""
    lam, i, j, z, chance = all_mixtures(alpha)
    soft = lam[:, None] * np.eye(3)[Y[i]] + (1 - lam[:, None]) * np.eye(3)[Y[j]]
    joint = np.cov(np.hstack([X, np.eye(3)[Y]]), rowvar=False, bias=True)
    np.testing.assert_allclose(moments_of(np.hstack([z, soft]), chance)[1], mixed_covariance(joint, alpha), atol=1e-13)
    groups = np.unique(soft.round(9), axis=0, return_inverse=True)[1].ravel()
    cells = [moments_of(z[groups == g], chance[groups == g]) for g in range(groups.max() + 1)]
    mass = np.array([chance[groups == g].sum() for g in range(groups.max() + 1)])
    within = np.einsum("g,gpq->pq", mass, np.array([c for _, c in cells]))
    between = moments_of(np.array([m for m, _ in cells]), mass)[1]
    got = soft_label_scatter(MOMENTS.within, MOMENTS.between, alpha)
    np.testing.assert_allclose(got[0], within, rtol=1e-10)
    np.testing.assert_allclose(got[1], between, rtol=1e-10)


@pytest.mark.parametrize("law", [Beta(0.3), Beta(2.0), Fixed(0.8)])
@pytest.mark.parametrize(("first", "second"), [(0, 1), (2, 0), (1, 1)])
def test_class_pair_equals_enumeration(law, first, second):
    rule = gauss_rule(3, law.alpha) if isinstance(law, Beta) else (np.array([law.lam]), np.array([1.0]))
    a, b = X[first == Y], X[second == Y]
    z = rule[0][:, None, None, None] * a[:, None] + (1 - rule[0])[:, None, None, None] * b[None]
    chance = np.broadcast_to(rule[1][:, None, None], z.shape[:3]) / (len(a) * len(b))
    expected = moments_of(z.reshape(-1, 2), chance.ravel())[1]
    np.testing.assert_allclose(class_pair_covariance(MOMENTS, first, second, law), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("alpha", [0.3, 5.0])
def test_same_class_partners_keep_the_between_scatter(alpha):
    _, i, j, z, chance = all_mixtures(alpha)
    same = Y[i] == Y[j]
    chance = chance[same] / MOMENTS.share[np.searchsorted(MOMENTS.labels, Y[i[same]])]  # partner uniform in the class
    expected = moments_of(z[same], chance)[1]
    np.testing.assert_allclose(same_class_covariance(MOMENTS.within, MOMENTS.between, alpha), expected, rtol=1e-12)


def test_printed_coefficients_and_limits():
    a = 0.7
    law, s = Beta(a), (a + 1) / (2 * a + 1)
    np.testing.assert_allclose(law.moment(3) + law.moment(0, 3), (a + 2) / (2 * (2 * a + 1)), rtol=1e-13)
    np.testing.assert_allclose(law.mean_p * (1 - 4 * law.mean_p), a / (2 * (2 * a + 1) ** 2), rtol=1e-13)
    within, between = hard_label_scatter(2.0, 3.0, a)
    np.testing.assert_allclose(within.item(), s * 2 + s * (1 - s) * 3, rtol=1e-13)
    np.testing.assert_allclose(between.item(), s**2 * 3, rtol=1e-13)
    unchanged = hard_label_class_moments(MOMENTS, 0.0)
    np.testing.assert_allclose(unchanged.covariances, MOMENTS.covariances, atol=1e-15)
    half = hard_label_class_moments(MOMENTS, np.inf)
    np.testing.assert_allclose(half.covariances, (MOMENTS.covariances + MOMENTS.total) / 4, rtol=1e-13)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: class_moments(X, Y[:3]), "same length"),
        (lambda: class_moments(X, Y + 0.5), "whole numbers"),
        (lambda: class_moments(X[:0], Y[:0]), "empty"),
        (lambda: hard_label_scatter(1.0, 1.0, Fixed(1.4)), r"\[0, 1\]"),
        (lambda: hard_label_scatter(np.eye(2), np.eye(3), 1.0), "one shape"),
        (lambda: soft_label_scatter(1.0, 1.0, -1.0), "alpha"),
        (lambda: class_pair_covariance(MOMENTS, 0, 7, 1.0), "second"),
        (lambda: hard_label_joint_covariance(np.eye(2), np.ones((3, 1)), np.eye(1), 1.0), "shapes"),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()
