"""Tests of the membership attacks: the plain loop, a Gaussian toy, shuffled memberships, a look-up table, ART."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from mixup_theory.experiments.attack_curves import attack_metrics, roc_auc, tpr_at_fpr
from mixup_theory.experiments.membership import (
    VARIANCES,
    attackable_points,
    gaussian_log_ratio,
    likelihood_ratio_scores,
    logit_confidence,
    offline_scores,
    shadow_moments,
)

ATTACKS = [likelihood_ratio_scores, offline_scores]
every_attack = pytest.mark.parametrize("attack", ATTACKS)
every_variance = pytest.mark.parametrize("variance", VARIANCES)


def half(rng, models, points):
    """Memberships of which every point has many of both kinds."""
    return rng.random((models, points)) < 0.5


def interval(values):
    """Mean and six standard errors."""
    return values.mean(), 6 * values.std(ddof=1) / math.sqrt(len(values))


# ---- logit-scaled confidence


def test_confidence_is_the_logit_of_the_probability():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(50, 7)), rng.integers(0, 7, 50)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    p_y = p[np.arange(50), labels]
    assert np.allclose(logit_confidence(logits, labels), np.log(p_y / (1 - p_y)), rtol=1e-12)
    assert np.allclose(logit_confidence(logits, np.eye(7)[labels]), np.log(p_y / (1 - p_y)), rtol=1e-12)


def test_confidence_keeps_its_digits_where_the_probability_rounds_to_one_or_zero():
    logits = np.array([[80.0, 0.0, 0.0], [-900.0, 0.0, 0.0]])
    expected = [80 - math.log(2), -900 - math.log(2)]
    assert logit_confidence(logits, np.array([0, 0])).tolist() == pytest.approx(expected, rel=1e-15)
    assert logit_confidence(logits.astype(np.float32), np.eye(3)[[0, 0]]).tolist() == pytest.approx(expected, rel=1e-15)


def test_confidence_of_a_mixed_label_by_hand():
    # p = (1/2, 1/2), y = (3/4, 1/4): KL = ln 2 - H(1/4), e^-KL is what takes the place of p_y
    kl = math.log(2) + 0.75 * math.log(0.75) + 0.25 * math.log(0.25)
    got = logit_confidence([[0.0, 0.0]], [[0.75, 0.25]])[0]
    assert got == pytest.approx(math.log(math.exp(-kl) / (1 - math.exp(-kl))), rel=1e-12)
    assert logit_confidence([[math.log(3), 0.0]], [[0.75, 0.25]])[0] > 30  # the label is met: no loss left
    assert np.isfinite(logit_confidence([[0.0, -1e6]], [[0.5, 0.5]])).all()


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        ([[1.0]], [0], "`logits` must have at least 2 classes"),
        ([[1.0, 2.0]], [2], "`labels` must be in 0..1"),
        ([[1.0, 2.0]], [0, 1], "`labels` must be whole numbers of shape"),
        ([[1.0, 2.0]], [0.5], "`labels` must be whole numbers of shape"),
        ([[1.0, 2.0]], [[0.5, 0.4]], "`labels` must be rows of probabilities"),
        ([[1.0, np.nan]], [0], "`logits` must be a finite array"),
    ],
)
def test_confidence_refuses(logits, labels, message):
    with pytest.raises(ValueError, match=message):
        logit_confidence(logits, np.array(labels))


# ---- leave one out, against the plain loop


def loop_moments(phi, member, variance):
    """The definition, one target and one point at a time."""
    models, points = member.shape
    out = np.empty((4, models, points))
    for t in range(models):
        others = np.delete(np.arange(models), t)
        for kind, side in ((0, True), (2, False)):
            groups = [phi[others, i][member[others, i] == side] for i in range(points)]
            out[kind, t] = [g.mean() for g in groups]
            spread = [g.std(ddof=1) for g in groups]
            if variance == "fixed":
                squares, freedom = sum(((g - g.mean()) ** 2).sum() for g in groups), sum(len(g) - 1 for g in groups)
                spread = math.sqrt(squares / freedom)
            out[kind + 1, t] = spread
    return out


@every_variance
def test_moments_are_those_of_the_other_models(variance):
    rng = np.random.default_rng(1)
    member = half(rng, 14, 30)
    member = member[:, attackable_points(member)]
    phi = rng.normal(100 + 3 * member, 2.0)
    expected = loop_moments(phi, member, variance)
    got = shadow_moments(phi, member, num_models=14, variance=variance)
    assert np.allclose(np.stack(got)[..., 0], expected, rtol=1e-9)
    mean_in, std_in, mean_out, std_out = expected
    ratio = norm.logpdf(phi, mean_in, std_in) - norm.logpdf(phi, mean_out, std_out)
    assert np.allclose(likelihood_ratio_scores(phi, member, num_models=14, variance=variance), ratio, rtol=1e-7)
    z = (phi - mean_out) / std_out
    assert np.allclose(offline_scores(phi, member, num_models=14, variance=variance), z, rtol=1e-8)


@every_attack
@every_variance
def test_the_target_is_not_among_its_shadows(attack, variance):
    rng = np.random.default_rng(2)
    member = half(rng, 20, 15)
    phi = rng.normal(size=(20, 15))
    other = phi.copy()
    other[3] += 5.0
    moments = [shadow_moments(p, member, num_models=20, variance=variance) for p in (phi, other)]
    assert np.allclose(np.stack(moments[0])[:, 3], np.stack(moments[1])[:, 3], rtol=1e-9)
    scores = [attack(p, member, num_models=20, variance=variance) for p in (phi, other)]
    assert not np.allclose(scores[0][4], scores[1][4])  # but among those of the others


@every_attack
def test_queries_add_up(attack):
    rng = np.random.default_rng(3)
    member = half(rng, 30, 10)
    phi = rng.normal(member[:, :, None] * 2.0, 1.0, (30, 10, 3))
    each = np.stack([attack(phi[..., q], member, num_models=30) for q in range(3)])
    total = each.sum(axis=0) if attack is likelihood_ratio_scores else each.mean(axis=0)
    assert np.allclose(attack(phi, member, num_models=30), total, rtol=1e-12)


# ---- what an attack must find


def test_gaussian_toy_has_its_closed_form_roc():
    rng = np.random.default_rng(4)
    shift, models, points = 1.5, 1000, 200
    member = half(rng, models, points)
    phi = rng.normal(shift * member)
    scores = gaussian_log_ratio(phi, shift, 1.0, 0.0, 1.0)
    rates = np.array([0.02, 0.1, 0.5])
    # A score above the (k + 1)-th of n non-members is exceeded at the rate (k + 1) / (n + 1) on average.
    for scored, tolerance in ((scores, 0.0), (likelihood_ratio_scores(phi, member, num_models=models), 0.004)):
        auc = np.array([roc_auc(s, m) for s, m in zip(scored, member, strict=True)])
        mean, six = interval(auc)
        assert abs(mean - norm.cdf(shift / math.sqrt(2))) < six + tolerance
        pooled = tpr_at_fpr(scored.ravel(), member.ravel(), rates)
        expected = norm.cdf(shift + norm.ppf(rates))
        slope = norm.pdf(shift + norm.ppf(rates)) / norm.pdf(norm.ppf(rates))
        n = member.size / 2
        error = np.sqrt(expected * (1 - expected) / n + slope**2 * rates * (1 - rates) / n)
        assert np.all(np.abs(pooled - expected) < 6 * error + tolerance)


def test_points_of_different_difficulty_need_the_per_example_attack():
    rng = np.random.default_rng(5)
    member = half(rng, 400, 100)
    phi = rng.normal(np.linspace(-20, 20, 100) + 2.0 * member)
    lira = attack_metrics(likelihood_ratio_scores(phi, member, num_models=400), member)["auc"].to_numpy()
    plain = attack_metrics(phi, member)["auc"].to_numpy()
    assert abs(interval(lira)[0] - norm.cdf(2 / math.sqrt(2))) < interval(lira)[1] + 0.005
    assert interval(plain)[0] + interval(plain)[1] < 0.6


@every_attack
@every_variance
def test_shuffled_memberships_are_guessed(attack, variance):
    rng = np.random.default_rng(6)
    true = half(rng, 64, 150)
    phi = rng.normal(3.0 * true)
    shuffled = half(rng, 64, 150)
    auc = attack_metrics(attack(phi, shuffled, num_models=64, variance=variance), shuffled)["auc"].to_numpy()
    mean, six = interval(auc)
    assert abs(mean - 0.5) < six


@every_attack
@every_variance
def test_a_look_up_table_is_read(attack, variance):
    rng = np.random.default_rng(7)
    member = half(rng, 24, 60)
    member = member[:, attackable_points(member)]
    table = np.where(member, 20.0, -20.0) + np.linspace(0, 5, member.shape[1])
    found = attack_metrics(attack(table, member, num_models=24, variance=variance), member)
    assert (found == 1).all(axis=None)


# ---- guards


@every_attack
@pytest.mark.parametrize("stated", [31, 33])
def test_number_of_models_stated_is_the_number_trained(attack, stated):
    rng = np.random.default_rng(8)
    member = half(rng, 32, 4)
    with pytest.raises(ValueError, match=f"`num_models` must be the number of models trained, 32, got {stated}"):
        attack(rng.normal(size=(32, 4)), member, num_models=stated)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"member": np.ones((6, 2), bool)}, "`member` must leave every point 2 shadow models"),
        ({"member": np.ones((6, 2))}, "`member` must be a boolean array"),
        ({"member": np.ones((6, 3), bool)}, "`member` must have the shape of `confidence`"),
        ({"variance": "global"}, "`variance` must be one of fixed, per-example"),
        ({"confidence": np.full((6, 2), np.nan)}, "`confidence` must be a finite array"),
    ],
)
def test_attack_refuses(change, message):
    member = np.array([[1, 0], [1, 0], [1, 0], [0, 1], [0, 1], [0, 1]], bool)
    given = {"confidence": np.arange(12.0).reshape(6, 2), "member": member, "variance": "fixed", **change}
    with pytest.raises(ValueError, match=message):
        likelihood_ratio_scores(given["confidence"], given["member"], num_models=6, variance=given["variance"])


# ---- another library, on the same scores


def test_art_black_box_attacks_agree_on_the_same_scores():
    black_box = pytest.importorskip("art.attacks.inference.membership_inference")
    from art.estimators.classification import PyTorchClassifier
    from art.metrics.privacy.worst_case_mia_score import get_roc_for_fpr

    torch.manual_seed(0)
    rng = np.random.default_rng(9)
    x, y = rng.normal(size=(200, 10)).astype(np.float32), rng.integers(0, 3, 200)
    member = np.arange(200) < 100
    network = torch.nn.Sequential(torch.nn.Linear(10, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3))
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(torch.tensor(x[member])), torch.tensor(y[member])).backward()
        optimizer.step()
    with torch.no_grad():
        logits = network(torch.tensor(x)).numpy()
    phi = logit_confidence(logits, y)
    estimator = PyTorchClassifier(network, torch.nn.CrossEntropyLoss(reduction="none"), (10,), 3)

    # The rule-based attack says member where the class is right.
    ruled = black_box.MembershipInferenceBlackBoxRuleBased(estimator).infer(x, y)
    right = (logits.argmax(axis=1) == y).astype(float)
    assert np.array_equal(ruled, right)
    gap = right[member].mean() - right[~member].mean()
    assert roc_auc(right, member) == pytest.approx((1 + gap) / 2)

    # A logistic regression on loss and class is a loss threshold in each class: the same order, so the same AUC.
    learned = black_box.MembershipInferenceBlackBox(estimator, input_type="loss", attack_model_type="lr")
    learned.fit(x[:50], y[:50], x[100:150], y[100:150])
    probability = learned.infer(x, y, probabilities=True).ravel()
    for k in range(3):
        of_class = y == k
        ours = roc_auc(phi[of_class], member[of_class])
        assert roc_auc(probability[of_class], member[of_class]) == pytest.approx(ours, abs=1e-12)
        assert 0.7 < ours < 1
    for rate in (0.01, 0.1):
        ((_, tpr, _),) = get_roc_for_fpr(attack_proba=phi, attack_true=member.astype(int), targeted_fpr=rate)
        assert float(tpr_at_fpr(phi, member, rate)) == pytest.approx(tpr)
