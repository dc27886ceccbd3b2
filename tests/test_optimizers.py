"""SGD and AdamW on flat buffers take the steps of torch.optim, with a rate and a decay of its own for each run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mixup_theory.experiments.config import RunConfig
from mixup_theory.experiments.networks import first_weights, mlp
from mixup_theory.experiments.optimizers import lr_factor, make_optimizer
from mixup_theory.experiments.stacked import StackedMLP


@pytest.mark.parametrize(
    "settings",
    [
        {"momentum": 0.0},
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True},
        {"optimizer": "adamw"},
    ],
)
@pytest.mark.parametrize("decays", [(0.0, 0.0), (0.0, 0.03)])
def test_steps_are_those_of_torch(settings, decays):
    rng = np.random.default_rng(1)
    weights = [first_weights(mlp(5, (4,), 3), rng) for _ in range(2)]
    stacked = StackedMLP(weights, "cross_entropy", torch.float64)
    rates, factors = (0.1, 0.02), (1.0, 0.7, 0.7, 0.1)
    configs = [
        RunConfig(learning_rate=rate, weight_decay=decay, **settings) for rate, decay in zip(rates, decays, strict=True)
    ]
    optimizer = make_optimizer(stacked, configs)
    references, parameters = [], []
    for r, config in enumerate(configs):
        params = [torch.nn.Parameter(torch.tensor(value)) for value in weights[r].values()]
        if config.optimizer == "adamw":
            reference = torch.optim.AdamW(params, lr=rates[r], weight_decay=decays[r])
        else:
            reference = torch.optim.SGD(
                params, lr=rates[r], momentum=config.momentum, nesterov=config.nesterov, weight_decay=decays[r]
            )
        references.append(reference)
        parameters.append(params)
    for factor in factors:
        for name_index, block in enumerate(stacked.spread_blocks(stacked.grads).values()):
            gradient = torch.tensor(rng.normal(size=tuple(block.shape)))
            block.mul_(optimizer.keep).add_(gradient)  # as StackedMLP.gradient does
            for r in range(2):
                parameters[r][name_index].grad = gradient[r].clone()
        optimizer.step(factor)
        for r in range(2):
            references[r].param_groups[0]["lr"] = rates[r] * factor
            references[r].step()
    for name_index, block in enumerate(stacked.spread_blocks(stacked.params).values()):
        for r in range(2):
            torch.testing.assert_close(block[r], parameters[r][name_index].detach(), rtol=1e-11, atol=1e-14)


def test_learning_rate_schedules():
    assert [lr_factor("constant", p) for p in (0.0, 0.99)] == [1.0, 1.0]
    assert [lr_factor("step", p) for p in (0.0, 0.499, 0.5, 0.749, 0.75, 0.99)] == [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
    np.testing.assert_allclose([lr_factor("cosine", p) for p in (0.0, 1 / 3, 0.5)], [1, 0.75, 0.5], rtol=1e-12)
    np.testing.assert_allclose([lr_factor("one-cycle", p) for p in (0.0, 0.15, 0.3, 0.65)], [0.04, 0.52, 1, 0.5])
    assert lr_factor("one-cycle", 0.2999999) == pytest.approx(1, abs=1e-5)
    assert 0 < lr_factor("one-cycle", 0.999) < 1e-4
