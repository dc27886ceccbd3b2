"""The test-time transform: by hand, on a linear network where it is exact, and on a stored run."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax

from mixup_theory.experiments import RunConfig, load_arrays, load_network, run_dataset, sweep
from mixup_theory.experiments.rescaling import rescaled_logits, shrunk_inputs, shrunk_test_logits
from mixup_theory.weights import expected_max_lam


def test_inputs_and_outputs_undo_each_other_for_an_affine_function():
    """For f affine with f(mean x) = mean y, evaluating on shrunk inputs and scaling back is f."""
    rng = np.random.default_rng(0)
    x, slope, mean_y = rng.standard_normal((20, 3)), rng.standard_normal((3, 2)), np.array([0.3, 0.7])
    centre = x.mean(axis=0)
    for alpha in (0.0, 0.4, np.inf):
        shrunk = shrunk_inputs(x, centre, alpha)
        np.testing.assert_allclose(shrunk - centre, expected_max_lam(alpha) * (x - centre), rtol=1e-12)
        np.testing.assert_allclose(
            rescaled_logits((shrunk - centre) @ slope + mean_y, mean_y, alpha), (x - centre) @ slope + mean_y
        )


def test_balanced_classes_make_it_a_temperature():
    logits = np.random.default_rng(1).standard_normal((5, 4))
    scaled = softmax(rescaled_logits(logits, np.full(4, 0.25), 1.0), axis=1)
    np.testing.assert_allclose(scaled, softmax(logits / 0.75, axis=1), rtol=1e-12)


def test_a_stored_run(tmp_path):
    run = RunConfig(method="mixup", alpha=1.0, num_train=60, hidden=(8,), epochs=2, outputs=("weights", "test_logits"))
    erm = run.replace(method="erm", alpha=0.0)
    sweep([run, erm], tmp_path)
    shrunk, whole = shrunk_test_logits(run, tmp_path)
    data, network = run_dataset(run), load_network(run, tmp_path)
    centre = data.x_train.mean(axis=0)
    x = torch.as_tensor(centre + 0.75 * (data.x_test - centre), dtype=torch.float32)
    np.testing.assert_allclose(shrunk, network(x).detach().numpy(), rtol=1e-5, atol=1e-6)
    mean_label = np.eye(10)[data.y_train].mean(axis=0)
    np.testing.assert_allclose(whole, (shrunk - 0.25 * mean_label) / 0.75, rtol=1e-12)
    plain = load_arrays(erm, tmp_path)["test_logits"]  # without mixup nothing is shrunk
    np.testing.assert_allclose(shrunk_test_logits(erm, tmp_path)[0], plain, rtol=1e-4, atol=1e-5)


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="`centre` must have the shape"):
        shrunk_inputs(np.zeros((2, 3)), np.zeros(2), 1.0)
    with pytest.raises(ValueError, match="`mean_label` must have 3 entries"):
        rescaled_logits(np.zeros((2, 3)), np.zeros(2), 1.0)
