"""RunConfig: one training run, validated, frozen, hashable; its key in the cache."""

from __future__ import annotations

import difflib
import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from .._checks import check_alpha, check_choice, check_integer, check_interval, check_positive
from ..annealing import Schedule
from .metrics import METRICS

__all__ = ["IMAGE_SHAPES", "TRAINING_VERSION", "RunConfig", "grid", "run_key"]

DatasetName = Literal[
    "digits", "fashion-mnist", "cifar10", "location30", "circles", "circles-laplace", "gaussian-mixture",
    "gaussian-line",
]  # fmt: skip
Output = Literal["test_logits", "train_index", "train_labels", "train_logits", "validation_logits", "weights"]

# Channels, height and width of one image; data sets that are not listed hold plain vectors.
IMAGE_SHAPES = {"digits": (1, 8, 8), "fashion-mnist": (1, 28, 28), "cifar10": (3, 32, 32)}

TRAINING_VERSION = 3  # raised whenever the same config would give other numbers; older cache entries are then absent


class RunConfig(BaseModel):
    """One training run.

    Attributes:
        dataset: Name of the data set.
        num_train: Number of training points, the first ones of the run's own permutation; None takes all.
        label_noise: Share of the training labels replaced by another class, in [0, 1].
        num_validation: Number of training points, the same for every run, that none of them trains on.
        augment: `flip-crop` mirrors an image with probability 1/2 and moves it by up to an eighth, for `cnn` and
            `resnet18`; the images are augmented, then mixed.
        network: `mlp`, `cnn` (3x3 convolution, ReLU, 2x2 maximum; then linear) or `resnet18` (pre-activation).
        hidden: Widths of the hidden layers of an MLP (empty is a linear model), channels of the blocks of a CNN, the
            one base width of a ResNet.
        loss: Training loss; `squared_error` is half the squared distance to the label row.
        method: `erm` mixes nothing, `mixup` inputs and labels, `manifold` a hidden state in place of the input,
            `cutmix` pastes a box of the partner's image; the label weight is the area that is left.
        mix_layers: For `manifold`: the hidden states of which one is drawn for each batch; 0 is the input, k what
            comes out of hidden layer or block k.
        alpha: Beta concentration in [0, inf], 0 for `erm`; or a `Schedule` of it, its time counted in epochs.
        partner: Law of the partner (`mixup_theory.mixing.PARTNERS`).
        lam_per: One lam per `batch`, per `sample`, or per matched `pair`.
        lam_max: Replace lam by max(lam, 1 - lam).
        label_mixing: `soft` labels lam y_i + (1 - lam) y_j; `hard`: y_i with probability lam, else y_j; `first`: y_i,
            the inputs alone are mixed. The last two are ablations.
        label_smoothing: Share of every label spread evenly over all classes, in [0, 1).
        optimizer: `sgd` or `adamw` (betas 0.9 and 0.999, eps 1e-8), as in PyTorch.
        learning_rate: Base learning rate, > 0.
        lr_schedule: `constant`, `cosine` to 0, `step` (a tenth at 1/2, again at 3/4), `one-cycle` (up for 30 %).
        momentum: Of `sgd`, in [0, 1).
        nesterov: Nesterov momentum for `sgd`.
        weight_decay: As in the PyTorch optimiser of that name, >= 0.
        epochs: Passes over the training points; the last one is reported.
        batch_size: Examples per step; capped at the number of training points. Each epoch takes the full batches
            of a fresh permutation, what is left over waits for another epoch.
        seed: Any whole number >= 0; subset, noise, weights, order and mixing have a stream of it each.
        dtype: Precision of the weights, and of all else where `precision` leaves it.
        precision: `bf16` multiplies in bfloat16 (autocast), for `resnet18` in float32 alone; `float32` is what `dtype`
            says, on a GPU as well.
        history_every: Keep the metrics of every so many epochs as arrays `history_*`; 0 keeps none.
        metrics: More metrics to report (`metrics.METRICS`), as `train_<name>` and `test_<name>`.
        outputs: Arrays to keep: `test_logits`, `train_logits`, `validation_logits`, `weights`, `train_index`,
            `train_labels`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    dataset: DatasetName = "digits"
    num_train: int | None = None
    label_noise: float = 0.0
    num_validation: int = 0
    augment: Literal["none", "flip-crop"] = "none"
    network: Literal["mlp", "cnn", "resnet18"] = "mlp"
    hidden: tuple[int, ...] = (64, 64)
    loss: Literal["cross_entropy", "squared_error"] = "cross_entropy"
    method: Literal["erm", "mixup", "manifold", "cutmix"] = "erm"
    mix_layers: tuple[int, ...] = ()
    alpha: float | Schedule = 0.0
    partner: Literal["independent", "permutation", "derangement", "flip", "roll"] = "permutation"
    lam_per: Literal["batch", "sample", "pair"] = "batch"
    lam_max: bool = False
    label_mixing: Literal["soft", "hard", "first"] = "soft"
    label_smoothing: float = 0.0
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.1
    lr_schedule: Literal["constant", "cosine", "step", "one-cycle"] = "constant"
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    epochs: int = 20
    batch_size: int = 128
    seed: int = 0
    dtype: Literal["float32", "float64"] = "float32"
    precision: Literal["float32", "bf16"] = "float32"
    history_every: int = 0
    metrics: tuple[str, ...] = ()
    outputs: tuple[Output, ...] = ()

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise ValueError(" ".join(_sentence(e, type(self)) for e in error.errors())) from None

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, fields: Any) -> Any:
        """Take numpy scalars and JSON lists for the plain values they stand for."""
        if not isinstance(fields, dict):
            return fields
        plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in fields.items()}
        plain = {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()}
        if "alpha" in plain:
            plain["alpha"] = _alpha(plain["alpha"])
        return plain

    @field_validator("num_train")
    @classmethod
    def _num_train(cls, value: int | None) -> int | None:
        return None if value is None else check_integer("num_train", value, 1)

    @field_validator("epochs", "batch_size")
    @classmethod
    def _at_least_one(cls, value: int, info: Any) -> int:
        return check_integer(info.field_name, value, 1)

    @field_validator("seed", "history_every", "num_validation")
    @classmethod
    def _at_least_zero(cls, value: int, info: Any) -> int:
        return check_integer(info.field_name, value, 0)

    @field_validator("hidden")
    @classmethod
    def _hidden(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(check_integer("hidden", width, 1) for width in value)

    @field_validator("mix_layers")
    @classmethod
    def _mix_layers(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted({check_integer("mix_layers", state, 0) for state in value}))

    @field_validator("label_noise")
    @classmethod
    def _label_noise(cls, value: float) -> float:
        return float(check_interval("label_noise", value, 0, 1))

    @field_validator("momentum", "label_smoothing")
    @classmethod
    def _below_one(cls, value: float, info: Any) -> float:
        return float(check_interval(info.field_name, value, 0, 1, closed="left"))

    @field_validator("metrics")
    @classmethod
    def _metrics(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(check_choice("metrics", name, METRICS) for name in value)

    @field_validator("precision")
    @classmethod
    def _precision(cls, value: str, info: Any) -> str:
        if value == "bf16" and (info.data.get("network"), info.data.get("dtype")) != ("resnet18", "float32"):
            raise ValueError("`precision` must be 'float32' for all but 'resnet18' with dtype 'float32', got 'bf16'.")
        return value

    @field_validator("learning_rate")
    @classmethod
    def _learning_rate(cls, value: float) -> float:
        return float(check_positive("learning_rate", value))

    @field_validator("weight_decay")
    @classmethod
    def _weight_decay(cls, value: float) -> float:
        return float(check_positive("weight_decay", value, zero=True))

    @model_validator(mode="after")
    def _together(self) -> RunConfig:
        """Refuse settings that contradict each other, and those that are ignored where one may rely on them."""
        if self.method == "erm" and self.alpha != 0:
            raise ValueError(f"`alpha` must be 0 for method 'erm', got {self.alpha}. Use method='mixup'.")
        if self.method == "erm" and self.label_mixing != "soft":
            raise ValueError(f"`label_mixing` must be 'soft' for method 'erm', got {self.label_mixing!r}.")
        if self.nesterov and (self.optimizer != "sgd" or self.momentum == 0):
            raise ValueError("`nesterov` must be False without the momentum of optimizer 'sgd', got True.")
        if self.lam_per == "pair" and self.partner != "flip":
            raise ValueError(f"`partner` must be 'flip' for lam_per 'pair', got {self.partner!r}.")
        if "validation_logits" in self.outputs and not self.num_validation:
            raise ValueError("`num_validation` must be >= 1 for the output 'validation_logits', got 0.")
        self._check_mix_layers()
        self._check_images()
        return self

    def _check_mix_layers(self) -> None:
        last = 4 if self.network == "resnet18" else len(self.hidden)
        if self.method != "manifold" and self.mix_layers:
            raise ValueError(f"`mix_layers` must be () for method {self.method!r}, got {self.mix_layers}.")
        if self.method == "manifold" and not any(self.mix_layers):
            raise ValueError(
                f"`mix_layers` must name a hidden state for method 'manifold', got {self.mix_layers}. "
                "Use (0, 1, 2), or method='mixup' for the input alone."
            )
        if self.mix_layers and self.mix_layers[-1] > last:
            raise ValueError(f"`mix_layers` must be at most {last} for this network, got {self.mix_layers[-1]}.")

    def _check_images(self) -> None:
        if self.dataset not in IMAGE_SHAPES and (self.network != "mlp" or self.method == "cutmix"):
            name, value = ("method", "cutmix") if self.method == "cutmix" else ("network", self.network)
            raise ValueError(
                f"`{name}` must not be {value!r} for {self.dataset}, whose points are no images. "
                f"Images: {', '.join(IMAGE_SHAPES)}."
            )
        if self.augment != "none" and self.network == "mlp":
            raise ValueError(f"`augment` must be 'none' for network 'mlp', got {self.augment!r}. Use 'cnn'.")
        if self.network == "resnet18" and len(self.hidden) != 1:
            raise ValueError(f"`hidden` must be one base width such as (64,) for 'resnet18', got {self.hidden}.")
        if self.network == "cnn":
            side = IMAGE_SHAPES[self.dataset][1]
            if not 1 <= len(self.hidden) <= math.floor(math.log2(side)):
                raise ValueError(
                    f"`hidden` must give the channels of 1 to {math.floor(math.log2(side))} blocks for a 'cnn' on "
                    f"{self.dataset}, each halving the side of {side}; got {self.hidden}."
                )

    def replace(self, **changes: Any) -> RunConfig:
        """Return a copy with some fields changed, validated again.

        Args:
            **changes: Fields and their new values.

        Returns:
            The new config.
        """
        return type(self)(**{**dict(self), **changes})

    def as_row(self) -> dict[str, Any]:
        """Return the fields as plain values for a table.

        Returns:
            One entry per field but `metrics` and `outputs`. `hidden` and `mix_layers` are text such as 64-64; `alpha`
            is the largest value of a schedule, and `schedule` is text such as "linear total=10", or "constant".
        """
        row = {name: value for name, value in self if name not in ("metrics", "outputs")}
        row |= {name: "-".join(map(str, getattr(self, name))) for name in ("hidden", "mix_layers")}
        row["schedule"] = "constant"
        if isinstance(self.alpha, Schedule):
            settings = {name: getattr(self.alpha, name) for name in ("total", "step", "rate")}
            used = [f"{name}={value:.12g}" for name, value in settings.items() if value is not None]
            row |= {"alpha": self.alpha.alpha0, "schedule": " ".join([self.alpha.kind, *used])}
        return row

    @property
    def shape(self) -> tuple[Any, ...]:
        """What runs must share to be trained together."""
        free = {
            "alpha", "label_mixing", "label_noise", "lam_max", "lam_per", "learning_rate", "method", "metrics",
            "mix_layers", "outputs", "partner", "seed", "weight_decay",
        }  # fmt: skip
        return (self.method == "cutmix", *((name, value) for name, value in self if name not in free))


def _alpha(value: Any) -> float | Schedule:
    """Read a concentration, or a schedule of it given as such or as a JSON object; a constant one is a number."""
    if isinstance(value, dict):
        try:
            value = Schedule(**value)
        except TypeError as error:
            raise ValueError(f"`alpha` must be a number or the fields of a Schedule, got {value}: {error}.") from None
    if not isinstance(value, Schedule):
        return float(check_alpha(value))
    return value.alpha0 if value.kind == "constant" else value


def _sentence(error: Any, model: type[BaseModel]) -> str:
    """Turn one pydantic error into one line of the package's wording."""
    name = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        close = difflib.get_close_matches(name, model.model_fields, n=1)
        hint = f" Did you mean `{close[0]}`?" if close else ""
        return f"`{name}` is no field of {model.__name__}.{hint} Fields: {', '.join(sorted(model.model_fields))}."
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    wanted = error["msg"].removeprefix("Input should be ")
    return f"`{name}` must be {wanted}, got {error['input']!r}."


def run_key(config: RunConfig, checksum: str) -> str:
    """Return the cache key: SHA-256 of config, data checksum and the version of the training code.

    Fields at their default are left out, so that a new field with a default keeps the old keys.

    Args:
        config: The run.
        checksum: SHA-256 of the data set it trains on.

    Returns:
        64 hexadecimal digits.
    """
    fields = config.model_dump(exclude_defaults=True)
    text = json.dumps([fields, checksum, TRAINING_VERSION], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def grid(base: RunConfig, **axes: Iterable[Any]) -> list[RunConfig]:
    """Return every combination of the axes, the last one varying fastest.

    Put `seed` first: more seeds then append runs, and what is cached keeps its groups.

    Args:
        base: The config whose other fields all runs share.
        **axes: Field names with the values each takes.

    Returns:
        One config per combination.

    Raises:
        ValueError: If an axis is empty, or a combination is not a valid config.

    Example:
        >>> runs = grid(RunConfig(method="mixup"), seed=range(2), alpha=[0.2, 1.0])
        >>> [(run.seed, run.alpha) for run in runs]
        [(0, 0.2), (0, 1.0), (1, 0.2), (1, 1.0)]
    """
    values: list[Sequence[Any]] = [tuple(axis) for axis in axes.values()]
    for name, axis in zip(axes, values, strict=True):
        if not axis:
            raise ValueError(f"`{name}` must have at least one value, got none.")
    return [base.replace(**dict(zip(axes, point, strict=True))) for point in itertools.product(*values)]
