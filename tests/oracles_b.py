"""Adapters from the oracle records of theory B to the public functions."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from mixup_theory.batch_variance import batch_covariance_variance
from mixup_theory.class_scatter import class_moments, hard_label_scatter
from mixup_theory.covariance import covariance_factor, dirichlet_factor
from mixup_theory.cutmix import cutmix_circular_cov_factor
from mixup_theory.factor_test import shrink_ratio_asymptotic_var
from mixup_theory.finite_batch import batch_mean_variance_factor, finite_batch_factor
from mixup_theory.higher_moments import mixed_excess_kurtosis
from mixup_theory.laws import Beta


def number(text: str) -> float:
    """Parse a decimal or a fraction exactly, then round once."""
    return float(Fraction(text))


PARTNER = {
    "uniform_permutation": "permutation",
    "permutation": "permutation",
    "derangement": "derangement",
    "matching(flip)": "flip",
    "flip": "flip",
    "ncycle(roll)": "roll",
    "roll": "roll",
    "with_replacement": "resampled",
    "iid": "resampled",
}
LAM_PER = {"per_batch": "batch", "per_sample": "sample", "per_pair": "pair"}


def _scheme(inputs: dict[str, Any], lam_per: str | None = None) -> dict[str, Any]:
    """Read the partner law and what shares lam; a suffix `_max` asks for max(lam, 1 - lam)."""
    lam = inputs.get("lam", "per_sample") if lam_per is None else lam_per
    scheme = {"partner": PARTNER[inputs["scheme"]], "lam_max": lam.endswith("_max")}
    return scheme | {"lam_per": LAM_PER[lam.removesuffix("_max")]}


def _batch(inputs: dict[str, Any]) -> list[float]:
    return [number(v) for v in inputs["x"]]


def _class_scatter(inputs: dict[str, Any]) -> list[float]:
    moments = class_moments(_batch(inputs), inputs["y"])
    return [m.item() for m in hard_label_scatter(moments.within, moments.between, number(inputs["a"]))]


def _estimator(name: str) -> str:
    return {"known_mean": "fixed"}.get(name, name)


ADAPTERS = {
    "var_batch_cov_perbatch_lam": lambda i: batch_covariance_variance(
        _batch(i), number(i["a"]), **_scheme(i, "per_batch")
    ),
    "var_second_moment_persample_lam": lambda i: batch_covariance_variance(
        _batch(i), number(i["a"]), known_mean=True, **_scheme(i, "per_sample")
    ),
    "batch_mean_variance_factor": lambda i: batch_mean_variance_factor(int(i["n"]), number(i["a"]), **_scheme(i)),
    "dirichlet_shrink": lambda i: dirichlet_factor(number(i["a"]), int(i["k"])),
    "shrink_factor_general_beta": lambda i: covariance_factor(Beta(number(i["alpha"]), number(i["beta"]))),
    "cutmix_circular_cov_factor": lambda i: cutmix_circular_cov_factor(number(i["a"]), number(i["delta"])),
    "shrink_ratio_asymptotic_var": lambda i: shrink_ratio_asymptotic_var(
        number(i["a"]), number(i["kurtosis"]), _estimator(i["estimator"])
    ),
    "mixed_excess_kurtosis": lambda i: mixed_excess_kurtosis(number(i["a"]), number(i["kurtosis"])),
    "finite_batch_factor": lambda i: finite_batch_factor(int(i["n"]), number(i["a"]), **_scheme(i)),
    "hard_label_scatter": _class_scatter,
}
