"""Low confidence between classes and the loss on mixed states: known heads, closed forms, Monte Carlo, a network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mixup_theory.experiments.mixed_states import head_above, low_confidence_share, mixed_state_loss
from mixup_theory.experiments.networks import hidden_states, mlp
from mixup_theory.moments import shrink_factor
from mixup_theory.weights import sample_lam


def chord(states: torch.Tensor) -> torch.Tensor:
    """Give the mixed label of points between unit rows: the probabilities are the states themselves."""
    return torch.log(states)


@pytest.mark.parametrize("level", [0.6, 0.75, 0.9])
def test_a_network_that_gives_the_mixed_label_has_the_share_2_level_minus_1(level: float) -> None:
    states, labels = torch.eye(4).repeat(5, 1), np.tile(np.arange(4), 5)
    got = low_confidence_share(
        chord, states, labels, np.random.default_rng(0), level=level, num_pairs=50, num_points=400
    )
    assert got.value == pytest.approx(2 * level - 1, abs=1 / 400)
    assert got.standard_error == pytest.approx(0, abs=1e-12)  # every segment is alike


def test_share_counts_points_between_different_classes_only() -> None:
    """Undecided on a third of each segment between the two classes; a pair within a class would never be."""

    def head(x: torch.Tensor) -> torch.Tensor:
        middle = (x[:, 0] > 1 / 3) & (x[:, 0] < 2 / 3)
        return torch.where(middle[:, None], 0.0, 20.0) * torch.stack([x[:, 0] - 0.5, 0.5 - x[:, 0]], dim=1)

    states, labels = torch.tensor([[0.0], [0.0], [1.0]]), np.array([0, 0, 1])
    got = low_confidence_share(head, states, labels, np.random.default_rng(1), num_points=300)
    assert got.value == pytest.approx(1 / 3, abs=1e-2)


def test_share_against_its_own_error_and_more_pairs() -> None:
    rng = np.random.default_rng(2)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 3))
    states, labels = 20 * torch.randn(40, 3), np.arange(40) % 3
    few = low_confidence_share(net, states, labels, rng, level=0.7, num_pairs=500)
    many = low_confidence_share(net, states, labels, rng, level=0.7, num_pairs=20000)
    assert abs(few.value - many.value) < 6 * np.hypot(few.standard_error, many.standard_error)
    assert many.standard_error == pytest.approx(few.standard_error / np.sqrt(40), rel=0.2)


def test_squared_error_below_an_affine_head_is_shrunk_residuals() -> None:
    torch.manual_seed(3)
    head, states, labels = nn.Linear(4, 3).double(), torch.randn(12, 4, dtype=torch.float64), np.arange(12) % 3
    residual = np.eye(3)[labels] - head(states).detach().numpy()
    for alpha in (0.0, 0.4, 2.0, np.inf):
        s = shrink_factor(alpha)
        wanted = s * (residual**2).sum(axis=1).mean() + (1 - s) * (residual.mean(axis=0) ** 2).sum()
        got = mixed_state_loss(head, states, labels, alpha, "squared_error")
        assert 2 * got == pytest.approx(wanted, rel=1e-12)


def test_cross_entropy_against_random_pairs() -> None:
    torch.manual_seed(4)
    rng = np.random.default_rng(5)
    net, labels = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3)).double(), np.arange(9) % 3
    states, n = torch.randn(9, 4, dtype=torch.float64), 200_000
    first, second = torch.as_tensor(rng.integers(0, 9, (2, n)))
    lam, rest = (torch.as_tensor(w)[:, None] for w in sample_lam(rng, n, 0.6))
    rows = torch.eye(3, dtype=torch.float64)[torch.as_tensor(labels)]
    target = lam * rows[first] + rest * rows[second]
    logits = net(lam * states[first] + rest * states[second])
    losses = -(target * torch.log_softmax(logits, dim=1)).sum(dim=1).detach()
    got = mixed_state_loss(net, states, labels, 0.6)
    assert abs(got - float(losses.mean())) < 6 * float(losses.std()) / np.sqrt(n)
    assert got == pytest.approx(mixed_state_loss(net, states, labels, 0.6, num_nodes=48), rel=1e-6)


def test_without_mixing_it_is_the_plain_loss() -> None:
    torch.manual_seed(6)
    net, states, labels = nn.Linear(4, 3), torch.randn(10, 4), np.arange(10) % 3
    wanted = nn.functional.cross_entropy(net(states), torch.as_tensor(labels))
    assert mixed_state_loss(net, states, labels, 0.0) == pytest.approx(wanted.item(), rel=1e-6)


def test_the_head_continues_where_the_state_is() -> None:
    torch.manual_seed(7)
    net, x = mlp(5, (7, 6), 3), torch.randn(4, 5)
    states = list(hidden_states(net, x).values())
    for k in range(3):
        torch.testing.assert_close(head_above(net, k)(states[k]), net(x))
    assert next(head_above(net, 2).parameters()) is net[-1].weight


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: head_above(mlp(2, (3,), 2), 2), "`state` must be at most 1"),
        (lambda: head_above(mlp(2, (3,), 2), -1), "`state` must"),
        (lambda: low_confidence_share(chord, torch.eye(2), [0, 0], np.random.default_rng(0)), "at least two classes"),
        (lambda: low_confidence_share(chord, torch.eye(2), [0], np.random.default_rng(0)), "`labels` must be 2"),
        (
            lambda: low_confidence_share(chord, torch.eye(2), [0, 1], np.random.default_rng(0), level=1.0),
            "`level` must",
        ),
        (
            lambda: low_confidence_share(chord, torch.eye(2), [0, 1], np.random.default_rng(0), num_pairs=1),
            "`num_pairs`",
        ),
        (lambda: mixed_state_loss(chord, torch.eye(2), [0, 1], -1.0), "`alpha` must"),
        (lambda: mixed_state_loss(chord, torch.eye(2), [0, 1], 1.0, "hinge"), "`loss` must"),
    ],
)
def test_bad_input(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
