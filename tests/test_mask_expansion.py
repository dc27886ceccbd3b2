"""Masked expansions of non-linear logits: reduction to mixup, hard-label identity, error order."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit

from mixup_theory.expansion import zhang_terms
from mixup_theory.logistic_risk import mixup_risk
from mixup_theory.mask_expansion import MaskLaw, circular_cutmix, mask_risk, masked_terms, mixup_moments

RNG = np.random.default_rng(11)
X = RNG.normal(size=(6, 4))
Y = np.array([1, 0, 1, 1, 0, 0])
A, B = RNG.normal(size=(3, 4)), np.array([0.7, -1.2, 0.9])


def smooth(x, scale=1.0, bias=0.3):
    """A small network with tanh units: value, gradient and Hessian in its input scaled by `scale`."""
    t = np.tanh(scale * x @ A.T)
    value = t @ B + bias
    slope = (1 - t**2) * B * scale
    gradient = slope @ A
    hessian = np.einsum("nm,mk,ml->nkl", -2 * t * (1 - t**2) * B * scale**2, A, A)
    return value, gradient, hessian


def test_linear_logit_and_mixup_moments_give_the_mixup_expansion():
    theta = np.array([1.5, -0.7, 0.2, 0.4])
    for alpha in (0.0, 1e-8, 0.2, 1.0, 1e6, math.inf):
        general = masked_terms(X, Y, X @ theta + 0.8, np.tile(theta, (6, 1)), mixup_moments(alpha, 4))
        linear = zhang_terms(X, Y, theta, alpha, 0.8)
        assert general.terms["R1"] == pytest.approx(linear.terms["R1"], rel=1e-12, abs=1e-16)
        assert general.terms["R2"] == pytest.approx(linear.terms["R2"], rel=1e-12, abs=1e-16)
        assert general.terms["R3"] == 0
        assert general.total == pytest.approx(linear.total, rel=1e-13)


def test_terms_are_the_naive_double_loop():
    law = circular_cutmix(4)
    f, gradient, hessian = smooth(X)
    r1 = r2 = r3 = 0.0
    for i in range(6):
        residual, curve = expit(f[i]) - Y[i], expit(f[i]) * expit(-f[i])
        for j in range(6):
            for mask, probability, lam in zip(law.masks, law.probabilities, law.lam, strict=True):
                step = (1 - mask) * (X[j] - X[i])
                mass = 2 * lam * probability / 36
                r1 += mass * residual * gradient[i] @ step
                r2 += mass * curve * (gradient[i] @ step) ** 2 / 2
                r3 += mass * residual * step @ hessian[i] @ step / 2
    terms = masked_terms(X, Y, f, gradient, law.size_biased(), hessian).terms
    assert [terms[name] for name in ("R1", "R2", "R3")] == pytest.approx([r1, r2, r3], rel=1e-12)


def test_mixed_labels_equal_hard_labels_under_the_size_biased_mask_law():
    law = circular_cutmix(4)
    hard = 0.0
    for mask, probability, lam in zip(law.masks, law.probabilities, law.lam, strict=True):
        points = mask * X[:, None] + (1 - mask) * X
        f = smooth(points.reshape(-1, 4))[0].reshape(6, 6)
        hard += 2 * lam * probability * np.mean(np.logaddexp(0, f) - Y[:, None] * f)
    assert mask_risk(lambda x: smooth(x)[0], X, Y, law) == pytest.approx(hard, rel=1e-13)


def order(error_at, scales):
    return np.polyfit(np.log(scales), np.log([error_at(scale) for scale in scales]), 1)[0]


def test_error_order_on_circular_cutmix_is_four_for_a_linear_logit():
    rng, law = np.random.default_rng(2), circular_cutmix(4)
    sets = [(rng.normal(size=(6, 4)), rng.integers(0, 2, 6), rng.normal(size=4)) for _ in range(20)]

    def error(scale):
        total = 0.0
        for x, y, theta in sets:

            def logit(points, theta=theta):
                return scale * points @ theta + 0.5

            expansion = masked_terms(x, y, logit(x), np.tile(scale * theta, (6, 1)), law.size_biased())
            total += abs(expansion.total - mask_risk(logit, x, y, law))
        return total

    assert order(error, 2.0 ** -np.arange(3.0, 7.0)) == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_error_order_of_a_smooth_network_is_three_and_needs_the_hessian(kind):
    law = circular_cutmix(4)
    moments = law.size_biased() if kind == "cutmix" else mixup_moments(0.7, 4)

    def error(scale, with_hessian=True):
        total = 0.0
        for shift in (-0.5, 0.3, 0.8):  # a shift keeps tanh from being odd about the data

            def logit(points, shift=shift):
                return smooth(points + shift / scale, scale)[0]

            f, gradient, hessian = smooth(X + shift / scale, scale)
            expansion = masked_terms(X, Y, f, gradient, moments, hessian if with_hessian else None)
            exact = mask_risk(logit, X, Y, law) if kind == "cutmix" else mixup_risk(logit, X, Y, 0.7)
            total += abs(expansion.total - exact)
        return total

    scales = 2.0 ** -np.arange(4.0, 8.0)
    assert order(error, scales) == pytest.approx(3, abs=0.15)
    assert order(lambda scale: error(scale, with_hessian=False), scales) == pytest.approx(2, abs=0.15)


def test_law_moments_and_symmetry():
    law = circular_cutmix(5)
    assert law.probabilities @ law.lam == pytest.approx(0.5, rel=1e-14)
    biased = law.size_biased()
    np.testing.assert_allclose(np.diag(biased.second), biased.first, rtol=1e-14)  # masks of 0 and 1
    whole = MaskLaw(np.array([[1.0, 1.0], [0.0, 0.0]]), [0.5, 0.5])
    np.testing.assert_array_equal(whole.size_biased().first, 0)  # alpha = 0
    uneven = MaskLaw([[1, 0, 0], [0, 1, 1]], [0.5, 0.5], lam=[0.2, 0.8])
    np.testing.assert_allclose(uneven.size_biased().first, [0.8, 0.2, 0.2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1, 0], [1, 0]], [0.5, 0.5]), "`masks` must have a law symmetric"),
        (([[1, 0], [0, 1]], [0.4, 0.6]), "`masks` must have a law symmetric"),
        (([[1, 0], [0, 1]], [0.5, 0.4]), "`probabilities` must sum to 1"),
        (([[1, 0], [0, 1]], [1.0]), "`probabilities` and `lam` must have one entry"),
        (([[2, 0], [0, 1]], [0.5, 0.5]), "`masks` must be in"),
        (([[1, 0], [0, 1]], [0.5, 0.5], [0.5, 0.7]), "`masks` must have a law symmetric"),
    ],
)
def test_bad_laws_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MaskLaw(*arguments)


def test_bad_arguments_are_refused():
    f, gradient, hessian = smooth(X)
    moments = mixup_moments(1.0, 4)
    with pytest.raises(ValueError, match=r"`values` must be of shape \[6\]"):
        masked_terms(X, Y, f[:3], gradient, moments)
    with pytest.raises(ValueError, match=r"`gradients` must be of shape \[6, 4\]"):
        masked_terms(X, Y, f, gradient[:, :2], moments)
    with pytest.raises(ValueError, match=r"`hessians` must be of shape \[6, 4, 4\]"):
        masked_terms(X, Y, f, gradient, moments, hessian[:, :2])
    with pytest.raises(ValueError, match=r"`moments` must be of shape \[4, 4\]"):
        masked_terms(X, Y, f, gradient, mixup_moments(1.0, 3))
    with pytest.raises(ValueError, match="`y` must have one label"):
        mask_risk(lambda x: x[:, 0], X, Y[:2], circular_cutmix(4))
    with pytest.raises(ValueError, match="`law` must have masks of 4 features"):
        mask_risk(lambda x: x[:, 0], X, Y, circular_cutmix(3))
    with pytest.raises(ValueError, match="`num_features` must be"):
        circular_cutmix(1)
