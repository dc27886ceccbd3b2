"""Tests of mixed queries and of joint scores: mixtures that can be read off, the plain loop, a known joint law."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from mixup_theory.experiments.attack_curves import attack_metrics
from mixup_theory.experiments.membership import attackable_points, likelihood_ratio_scores
from mixup_theory.experiments.query_attack import joint_scores, mixed_queries


def test_mixed_queries_mix_inputs_and_labels_with_one_weight():
    x = np.eye(40).reshape(40, 5, 8)  # a point can be read off its mixture
    labels = np.arange(40) % 7
    queries = mixed_queries(np.random.default_rng(0), x, labels, 7, alpha=1.0, count=3)
    assert len(queries) == 3
    for mixed, rows in queries:
        weight = mixed.reshape(40, 40)
        lam = weight.diagonal()
        assert (lam >= 0.5).all()
        assert np.allclose(weight.sum(axis=1), 1)
        assert ((weight > 0).sum(axis=1) == 2).all()  # two different points
        assert np.allclose(rows, weight @ np.eye(7)[labels])
    # max(lam, 1 - lam) of a uniform lam is uniform on [1/2, 1]: mean 3/4, variance 1/48
    lam = np.concatenate([q[0].reshape(40, 40).diagonal() for q in queries])
    assert abs(lam.mean() - 0.75) < 6 * np.sqrt(1 / 48 / len(lam))


def test_queries_refuse():
    with pytest.raises(ValueError, match="`x` must hold at least 2 points"):
        mixed_queries(np.random.default_rng(0), np.ones((1, 2)), [0], 2, alpha=1.0, count=1)
    with pytest.raises(ValueError, match="`count` must be a whole number >= 1"):
        mixed_queries(np.random.default_rng(0), np.ones((3, 2)), [0, 1, 1], 2, alpha=1.0, count=0)


def example(models=14, points=12, queries=3):
    rng = np.random.default_rng(1)
    member = rng.random((models, points)) < 0.5
    member = member[:, attackable_points(member)]
    mix = rng.normal(size=(queries, queries))
    phi = rng.normal(100 + member[:, :, None], 1.0, (*member.shape, queries)) @ mix
    return phi, member


def test_joint_scores_are_the_densities_of_the_other_models_answers():
    phi, member = example()
    scores = joint_scores(phi, member, num_models=14)
    for t in (0, 5, 13):
        others = np.delete(np.arange(14), t)
        logs = {}
        for side in (True, False):
            groups = [phi[others, i][member[others, i] == side] for i in range(member.shape[1])]
            means = [g.mean(axis=0) for g in groups]
            squares = sum((g - m).T @ (g - m) for g, m in zip(groups, means, strict=True))
            covariance = squares / sum(len(g) - 1 for g in groups)
            logs[side] = [multivariate_normal(m, covariance).logpdf(x) for x, m in zip(phi[t], means, strict=True)]
        assert np.allclose(scores[t], np.subtract(logs[True], logs[False]), rtol=1e-6)


def test_one_query_is_the_plain_attack_and_a_linear_map_of_the_answers_changes_nothing():
    phi, member = example()
    one = likelihood_ratio_scores(phi[..., 0], member, num_models=14)
    assert np.allclose(joint_scores(phi[..., :1], member, num_models=14), one, rtol=1e-9)
    turned = phi @ np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 5.0], [1.0, 0.0, 1.0]])
    joint = joint_scores(phi, member, num_models=14)
    assert np.allclose(joint_scores(turned, member, num_models=14), joint, atol=1e-6)


def test_joint_scores_reach_the_closed_form_and_sums_do_not():
    # Common noise of variance 9 and own noise of variance 1 on two answers; a member shifts one of them by 2.
    # Joint: d^2 = (2, 0) S^-1 (2, 0)^T with S = [[10, 9], [9, 10]], so 4 * 10 / 19; alone: 4 / 10.
    rng = np.random.default_rng(2)
    member = rng.random((500, 100)) < 0.5
    phi = 3 * rng.normal(size=(500, 100, 1)) + rng.normal(size=(500, 100, 2))
    phi[..., 0] += 2.0 * member
    auc = attack_metrics(joint_scores(phi, member, num_models=500), member)["auc"].to_numpy()
    tolerance = 6 * auc.std(ddof=1) / math.sqrt(500) + 0.002
    assert abs(auc.mean() - norm.cdf(math.sqrt(40 / 19 / 2))) < tolerance
    summed = attack_metrics(likelihood_ratio_scores(phi, member, num_models=500), member)["auc"].to_numpy()
    assert auc.mean() - summed.mean() > 0.1


def test_joint_scores_refuse():
    phi, member = example()
    with pytest.raises(ValueError, match="`num_models` must be the number of models trained, 14, got 15"):
        joint_scores(phi, member, num_models=15)
    with pytest.raises(ValueError, match="`confidence` must hold no query that repeats others"):
        joint_scores(np.zeros((*member.shape, 2)), member, num_models=14)
