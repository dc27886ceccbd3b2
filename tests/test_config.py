"""RunConfig refuses what it does not know, and its key tells every two runs apart."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mixup_theory.annealing import Schedule
from mixup_theory.experiments.config import TRAINING_VERSION, RunConfig, grid, run_key

MIXUP = RunConfig(method="mixup", alpha=1.0)


def test_unknown_key_names_the_near_one():
    with pytest.raises(ValueError, match=r"`alhpa` is no field of RunConfig. Did you mean `alpha`\?"):
        RunConfig(alhpa=1.0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"alpha": -1}, r"`alpha` must be a number >= 0 .*, got -1"),
        ({"alpha": math.nan}, "`alpha` must be a number >= 0"),
        ({"alpha": "1"}, "`alpha` must be a number >= 0 .*, got '1'"),
        ({"alpha": True}, "`alpha` must be a number >= 0"),
        ({"alpha": None}, "`alpha` must be a number >= 0"),
        ({"alpha": {"kind": "linear"}}, "`alpha` must be a number or the fields of a Schedule"),
        ({"alpha": {"kind": "cubic", "alpha0": 1.0, "total": 5}}, "`kind` must be one of"),
        ({"alpha": 1.0, "method": "erm"}, "`alpha` must be 0 for method 'erm', got 1"),
        ({"dataset": "mnist"}, "`dataset` must be .*'digits'.*, got 'mnist'"),
        ({"method": "mixmatch"}, "`method` must be 'erm', 'mixup', 'manifold' or 'cutmix', got 'mixmatch'"),
        ({"mix_layers": (0, 1)}, r"`mix_layers` must be \(\) for method 'mixup', got \(0, 1\)"),
        ({"method": "manifold"}, r"`mix_layers` must name a hidden state for method 'manifold', got \(\)"),
        ({"method": "manifold", "mix_layers": (0,)}, "or method='mixup' for the input alone"),
        ({"method": "manifold", "mix_layers": (0, 3)}, "`mix_layers` must be at most 2 for this network, got 3"),
        ({"method": "manifold", "mix_layers": (-1, 1)}, "`mix_layers` must be a whole number >= 0"),
        ({"method": "cutmix", "dataset": "location30"}, "`method` must not be 'cutmix' for location30, whose points"),
        ({"network": "cnn", "dataset": "circles"}, "`network` must not be 'cnn' for circles, whose points"),
        ({"network": "cnn", "hidden": (4, 4, 4, 4)}, "channels of 1 to 3 blocks for a 'cnn' on digits"),
        ({"network": "cnn", "hidden": ()}, "channels of 1 to 3 blocks"),
        ({"network": "resnet18"}, "`hidden` must be one base width such as .* got .64, 64."),
        ({"augment": "flip-crop"}, "`augment` must be 'none' for network 'mlp'"),
        ({"num_validation": -1}, "`num_validation` must be a whole number >= 0"),
        ({"outputs": ("validation_logits",)}, "`num_validation` must be >= 1 for the output 'validation_logits'"),
        ({"epochs": 0}, "`epochs` must be a whole number >= 1, got 0"),
        ({"epochs": 1.5}, "`epochs` must be a valid integer, got 1.5"),
        ({"batch_size": -3}, "`batch_size` must be a whole number >= 1"),
        ({"seed": -1}, "`seed` must be a whole number >= 0"),
        ({"seed": True}, "`seed` must be a valid integer"),
        ({"num_train": 0}, "`num_train` must be a whole number >= 1"),
        ({"hidden": (64, 0)}, "`hidden` must be a whole number >= 1"),
        ({"label_smoothing": 1.0}, r"`label_smoothing` must be in \[0, 1\)"),
        ({"label_mixing": "hard", "method": "erm"}, "`label_mixing` must be 'soft' for method 'erm'"),
        ({"metrics": ("acuracy",)}, "`metrics` must be one of brier, confidence, entropy"),
        ({"label_noise": 1.1}, r"`label_noise` must be in \[0, 1\]"),
        ({"momentum": 1.0}, r"`momentum` must be in \[0, 1\)"),
        ({"learning_rate": 0.0}, "`learning_rate` must be a finite number > 0"),
        ({"learning_rate": math.inf}, "`learning_rate` must be a finite number > 0"),
        ({"weight_decay": -1e-4}, "`weight_decay` must be a finite number >= 0"),
        ({"nesterov": True, "momentum": 0.0}, "`nesterov` must be False without the momentum"),
        ({"lam_per": "pair"}, "`partner` must be 'flip' for lam_per 'pair'"),
        ({"outputs": ("logits",)}, "`outputs.0` must be"),
        (
            {"precision": "bf16"},
            "`precision` must be 'float32' for all but 'resnet18' with dtype 'float32', got 'bf16'",
        ),
        (
            {"precision": "bf16", "network": "resnet18", "hidden": (4,), "dtype": "float64"},
            "`precision` must be 'float32' for all but 'resnet18' with dtype 'float32'",
        ),
        ({"precision": "tf32"}, "`precision` must be 'float32' or 'bf16', got 'tf32'"),
        ({"dtype": "float16"}, "`dtype` must be 'float32' or 'float64', got 'float16'"),
    ],
)
def test_bad_values_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        RunConfig(**{"method": "mixup", **fields})


def test_frozen_hashable_and_seed_zero_is_a_seed():
    config = RunConfig(seed=0)
    assert {config: 1}[RunConfig()] == 1
    assert config.seed == 0
    assert config != RunConfig(seed=1)
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 3


def test_values_as_papermill_and_numpy_give_them():
    given = RunConfig(method="mixup", alpha=np.float64(2), seed=np.int64(3), hidden=[8, 8], outputs=["weights"])
    assert given == RunConfig(method="mixup", alpha=2, seed=3, hidden=(8, 8), outputs=("weights",))


def test_schedules_come_as_objects_or_fields_and_a_constant_one_is_a_number():
    fields = {"kind": "linear", "alpha0": 1.0, "total": 10}
    assert MIXUP.replace(alpha=fields) == MIXUP.replace(alpha=Schedule(**fields))
    assert MIXUP.replace(alpha=Schedule("constant", 1.0, 10)) == MIXUP
    row = MIXUP.replace(alpha=Schedule("step", 2.0, total=10, step=4)).as_row()
    assert (row["alpha"], row["schedule"]) == (2.0, "step total=10 step=4")
    assert (MIXUP.as_row()["alpha"], MIXUP.as_row()["schedule"], MIXUP.as_row()["hidden"]) == (1.0, "constant", "64-64")


def test_key_depends_on_every_field_on_the_data_and_on_the_code(monkeypatch):
    others = [
        {"num_train": 10}, {"label_noise": 0.1}, {"hidden": (64,)}, {"hidden": ()}, {"loss": "squared_error"},
        {"method": "erm", "alpha": 0.0}, {"alpha": 0.5}, {"alpha": math.inf}, {"alpha": Schedule("linear", 1.0, 9)},
        {"alpha": Schedule("linear", 1.0, 8)}, {"partner": "roll"}, {"lam_per": "sample"}, {"lam_max": True},
        {"label_mixing": "hard"}, {"label_mixing": "first"}, {"label_smoothing": 0.1}, {"metrics": ("brier",)},
        {"dataset": "circles"},
        {"optimizer": "adamw"}, {"learning_rate": 0.2}, {"lr_schedule": "cosine"}, {"momentum": 0.0},
        {"nesterov": True}, {"weight_decay": 1e-4}, {"epochs": 3}, {"batch_size": 7}, {"seed": 1},
        {"dtype": "float64"}, {"history_every": 1}, {"outputs": ("weights",)}, {"num_validation": 5},
        {"method": "manifold", "mix_layers": (0, 1)}, {"method": "manifold", "mix_layers": (0, 1, 2)},
        {"method": "cutmix"}, {"network": "cnn"}, {"network": "cnn", "augment": "flip-crop"},
        {"network": "resnet18", "hidden": (64,)}, {"network": "resnet18", "hidden": (64,), "precision": "bf16"},
    ]  # fmt: skip
    keys = {run_key(MIXUP.replace(**change), "data") for change in others} | {run_key(MIXUP, "data")}
    assert len(keys) == len(others) + 1
    assert run_key(MIXUP, "other data") not in keys
    assert run_key(MIXUP, "data") in keys
    monkeypatch.setattr("mixup_theory.experiments.config.TRAINING_VERSION", TRAINING_VERSION + 1)
    assert run_key(MIXUP, "data") not in keys


def test_key_of_a_field_at_its_default_is_that_of_the_field_left_out():
    assert run_key(RunConfig(epochs=20), "data") == run_key(RunConfig(), "data")


def test_mix_layers_are_a_set_and_text_in_a_row():
    run = MIXUP.replace(method="manifold", mix_layers=[2, 0, 2])
    assert run.mix_layers == (0, 2)
    assert run.as_row()["mix_layers"] == "0-2"
    assert MIXUP.as_row()["mix_layers"] == ""


def test_grid_varies_the_last_axis_fastest_and_validates():
    runs = grid(MIXUP, seed=range(2), alpha=np.array([0.2, 1.0]))
    assert [(run.seed, run.alpha) for run in runs] == [(0, 0.2), (0, 1.0), (1, 0.2), (1, 1.0)]
    with pytest.raises(ValueError, match="`seed` must have at least one value"):
        grid(MIXUP, seed=[])
    with pytest.raises(ValueError, match="`sead` is no field"):
        grid(MIXUP, sead=[1])
    with pytest.raises(ValueError, match="`alpha` must be"):
        MIXUP.replace(alpha=-1)


def test_shape_leaves_out_what_may_differ_inside_a_group():
    free = MIXUP.replace(alpha=2.0, seed=4, lam_per="sample", label_noise=0.2, learning_rate=1.0, weight_decay=0.1)
    assert free.shape == MIXUP.shape
    assert MIXUP.replace(method="erm", alpha=0.0).shape == MIXUP.shape
    assert MIXUP.replace(method="manifold", mix_layers=(0, 1)).shape == MIXUP.shape
    assert MIXUP.replace(epochs=21).shape != MIXUP.shape
    assert MIXUP.replace(method="cutmix").shape != MIXUP.shape
    assert MIXUP.replace(num_validation=10).shape != MIXUP.shape
    assert MIXUP.replace(dtype="float64").shape != MIXUP.shape
