"""Tests of ROC, AUC, TPR at a false positive rate and advantage: every threshold tried, and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from mixup_theory.experiments.attack_curves import advantage, attack_metrics, roc_auc, tpr_at_fpr


def cases():
    """Scores with and without ties, kinds of unequal number."""
    rng = np.random.default_rng(0)
    for n, levels in ((7, 3), (40, 5), (200, 10**6)):
        member = rng.random(n) < 0.4
        member[:2] = True, False
        yield rng.integers(0, levels, n) + 0.7 * member, member


def all_rates(scores, member):
    """FPR and TPR of every threshold, from the definition."""
    for threshold in [-np.inf, *np.unique(scores)]:
        accused = scores > threshold
        yield accused[~member].mean(), accused[member].mean()


@pytest.mark.parametrize(("scores", "member"), list(cases()))
def test_against_every_threshold_and_every_pair(scores, member):
    pairs = scores[member][:, None] - scores[~member]
    assert roc_auc(scores, member) == pytest.approx(((pairs > 0) + (pairs == 0) / 2).mean(), rel=1e-12)
    rates = list(all_rates(scores, member))
    assert advantage(scores, member) == pytest.approx(max(t - f for f, t in rates))
    for fpr in (0.0, 0.001, 0.01, 0.1, 0.25, 0.5, 1.0):
        best = max(t for f, t in rates if f <= fpr)
        assert float(tpr_at_fpr(scores, member, fpr)) == pytest.approx(best)


@pytest.mark.parametrize(("scores", "member"), list(cases()))
def test_against_scikit_learn(scores, member):
    fpr, tpr, _ = roc_curve(member, scores, drop_intermediate=False)
    assert roc_auc(scores, member) == pytest.approx(roc_auc_score(member, scores), rel=1e-12)
    assert advantage(scores, member) == pytest.approx((tpr - fpr).max())
    assert np.allclose(tpr_at_fpr(scores, member, fpr), [tpr[fpr <= f + 1e-12].max() for f in fpr])


def test_a_rate_that_rounds_down_still_allows_its_count():
    # 0.29 * 100 is 28.999999999999996 in floating point, and means 29 of 100
    scores, member = np.arange(101.0)[::-1], np.arange(101) == 29
    assert float(tpr_at_fpr(scores, member, 0.29)) == 1.0
    assert float(tpr_at_fpr(scores, member, 0.28)) == 0.0


def test_constant_scores_tell_nothing():
    found = attack_metrics(np.zeros((3, 10)), np.tile(np.arange(10) < 5, (3, 1)))
    assert found.to_dict("list") == {"auc": [0.5] * 3, "tpr_1": [0.0] * 3, "tpr_01": [0.0] * 3, "advantage": [0.0] * 3}


def test_one_row_per_target():
    member = np.array([[True, False, True, False], [False, True, True, False]])
    scores = np.array([[4.0, 3.0, 2.0, 1.0], [1.0, 4.0, 3.0, 2.0]])
    assert attack_metrics(scores, member)["auc"].tolist() == [0.75, 1.0]


@pytest.mark.parametrize(
    ("scores", "member", "message"),
    [
        ([1.0, 2.0], [True, True], "`member` must hold members and non-members"),
        ([1.0, 2.0], [1, 0], "`member` must be booleans"),
        ([1.0, 2.0], [True], "`member` must be booleans"),
        ([1.0, np.inf], [True, False], "`scores` must be a finite array"),
    ],
)
@pytest.mark.parametrize("measure", [roc_auc, advantage, lambda s, m: tpr_at_fpr(s, m, 0.1)])
def test_refuses(measure, scores, member, message):
    with pytest.raises(ValueError, match=message):
        measure(scores, np.array(member))


def test_refuses_rates_and_shapes():
    with pytest.raises(ValueError, match="`fpr` must be in"):
        tpr_at_fpr([1.0, 2.0], np.array([True, False]), 1.5)
    with pytest.raises(ValueError, match="`member` must have the shape of `scores`"):
        attack_metrics(np.zeros((2, 3)), np.zeros((2, 4), bool))
