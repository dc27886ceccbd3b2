"""The decision radius of networks whose boundary is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mixup_theory.experiments.decision_radius import decision_radii, mean_decision_radius


class Ellipse(torch.nn.Module):
    """Says 1 outside an ellipse."""

    def __init__(self, a: float, b: float) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor([1 / a, 1 / b], dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of points [n, 2]."""
        value = (x * self.scale).norm(dim=1) - 1
        return torch.stack([-value, value], dim=1)


def test_an_ellipse() -> None:
    radii = decision_radii(Ellipse(0.6, 0.9), 0.2, 1.2, num_angles=360, num_steps=2000)
    angle = 2 * np.pi * np.arange(360) / 360
    expected = 1 / np.sqrt((np.cos(angle) / 0.6) ** 2 + (np.sin(angle) / 0.9) ** 2)
    np.testing.assert_allclose(radii, expected, atol=1e-6)
    assert mean_decision_radius(Ellipse(0.6, 0.9), 0.2, 1.2, num_steps=2000) == pytest.approx(expected.mean(), abs=1e-4)


def test_rays_without_a_flip_get_an_end() -> None:
    assert set(decision_radii(Ellipse(5, 5), 0.2, 1.2)) == {1.2}
    assert set(decision_radii(Ellipse(0.1, 0.1), 0.2, 1.2)) == {0.2}


def test_an_empty_range_is_named() -> None:
    with pytest.raises(ValueError, match="`inner` must be in"):
        decision_radii(Ellipse(1, 1), 1.0, 0.5)
