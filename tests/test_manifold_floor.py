"""The least loss below an affine readout, against a free optimisation over all examples and a problem in one number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from mixup_theory.floors import expected_label_entropy
from mixup_theory.manifold_construction import least_squared_loss
from mixup_theory.manifold_floor import cross_entropy_floor, squared_error_floor
from mixup_theory.quadrature import gauss_rule


@pytest.mark.parametrize("alpha", [0.0, 0.3, 2.0, np.inf])
@pytest.mark.parametrize("hidden_dim", [1, 2, 4, 5, 9])
def test_balanced_classes_give_the_closed_form(alpha: float, hidden_dim: int) -> None:
    got = squared_error_floor([7] * 6, alpha, hidden_dim)
    assert got == pytest.approx(least_squared_loss(alpha, 6, hidden_dim), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize(("counts", "hidden_dim"), [([4, 2, 2], 1), ([3, 3, 1, 1], 2), ([3, 3, 1, 1], 1)])
def test_squared_error_is_what_a_free_encoder_reaches(counts: list[int], hidden_dim: int) -> None:
    """Optimise states and readout together over all pairs; lam enters by E lam^2 = 1/3 and E lam(1 - lam) = 1/6."""
    torch.manual_seed(0)
    rows = torch.eye(len(counts), dtype=torch.float64).repeat_interleave(torch.tensor(counts), dim=0)
    states = torch.randn(len(rows), hidden_dim, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(hidden_dim, len(counts), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(len(counts), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [states, weight, bias], max_iter=500, line_search_fn="strong_wolfe", tolerance_change=1e-14
    )

    def loss() -> torch.Tensor:
        residual = rows - states @ weight - bias
        gram = residual @ residual.T
        optimizer.zero_grad()
        value = (2 / 3 * gram.diagonal().mean()) + 2 / 6 * gram.mean()
        value.backward()
        return value

    optimizer.step(loss)
    assert float(loss().detach()) == pytest.approx(squared_error_floor(counts, 1.0, hidden_dim), rel=1e-6)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
@pytest.mark.parametrize("num_classes", [2, 3, 10])
def test_balanced_classes_leave_a_problem_in_one_number(alpha: float, num_classes: int) -> None:
    """By symmetry z_c = t e_c: the cross-entropy is a convex function of t, with lam by quadrature."""
    lam, weights = gauss_rule(64, alpha)
    rest = np.zeros((len(lam), num_classes - 2))

    def loss(t: float) -> float:
        mixed = np.concatenate([t * lam[:, None], t * (1 - lam)[:, None], rest], axis=1)
        across = weights @ (logsumexp(mixed, axis=1) - t * (lam**2 + (1 - lam) ** 2))
        same = np.logaddexp(t, np.log(num_classes - 1)) - t
        return same / num_classes + (1 - 1 / num_classes) * across

    best = minimize_scalar(loss, bounds=(0, 50), method="bounded", options={"xatol": 1e-10})
    got = cross_entropy_floor([5] * num_classes, alpha)
    assert got.loss == pytest.approx(best.fun, abs=1e-11)
    wanted = best.x * (np.eye(num_classes) - 1 / num_classes)
    np.testing.assert_allclose(got.logits, wanted, atol=1e-4)
    assert got.loss > expected_label_entropy(alpha, [5] * num_classes) + 0.01


def test_examples_of_a_class_get_one_output_when_each_may_have_its_own() -> None:
    """Unequal classes, every example free: the optimum collapses, and has the value of the small problem."""
    counts, alpha = [4, 2, 1], 0.7
    classes = torch.repeat_interleave(torch.arange(3), torch.tensor(counts))
    rows, n = torch.eye(3, dtype=torch.float64)[classes], len(classes)
    torch.manual_seed(1)
    logits = torch.randn(n, 3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [logits], max_iter=2000, line_search_fn="strong_wolfe", tolerance_grad=1e-12, tolerance_change=1e-16
    )
    nodes = list(zip(*gauss_rule(64, alpha), strict=True))

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.zeros((), dtype=torch.float64)
        for lam, weight in nodes:
            mixed, labels = (lam * v[:, None] + (1 - lam) * v[None] for v in (logits, rows))
            value = value - weight * (labels * torch.log_softmax(mixed, dim=2)).sum() / n**2
        value.backward()
        return value

    optimizer.step(loss)
    found = cross_entropy_floor(counts, alpha)
    assert float(loss().detach()) == pytest.approx(found.loss, abs=1e-9)
    own = (logits - logits.mean(dim=1, keepdim=True)).detach().numpy()
    np.testing.assert_allclose(own, found.logits[classes.numpy()], atol=1e-3)


def test_shares_are_as_good_as_counts() -> None:
    assert cross_entropy_floor([0.5, 0.3, 0.2], 1.0).loss == pytest.approx(
        cross_entropy_floor([5, 3, 2], 1.0).loss, abs=1e-12
    )
    assert squared_error_floor([0.5, 0.3, 0.2], 1.0, 1) == pytest.approx(
        squared_error_floor([5, 3, 2], 1.0, 1), abs=1e-14
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cross_entropy_floor([1], 1.0), "`counts` must be"),
        (lambda: cross_entropy_floor([1, 0], 1.0), "`counts` must be"),
        (lambda: cross_entropy_floor([1, 1], 0.0), "`alpha` must"),
        (lambda: cross_entropy_floor([1, 1], np.inf), "`alpha` must"),
        (lambda: squared_error_floor([1, 1], -1.0, 1), "`alpha` must"),
        (lambda: squared_error_floor([1, 1], 1.0, 0), "`hidden_dim` must"),
    ],
)
def test_bad_input(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
