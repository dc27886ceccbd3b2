"""The few input checks of the package and their wording: what it must be, what it was, what to do."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "as_result",
    "check_alpha",
    "check_array",
    "check_choice",
    "check_integer",
    "check_interval",
    "check_one_alpha",
    "check_positive",
]


def as_result(value: ArrayLike) -> Any:
    """Return a Python float for a 0-d array and the float64 array itself otherwise."""
    array = np.asarray(value, dtype=float)
    return array.item() if array.ndim == 0 else array


def _numbers(name: str, value: ArrayLike, condition: str) -> NDArray[np.float64]:
    """Convert to float64, rejecting text, objects and complex numbers with the caller's wording."""
    if isinstance(value, str | bytes) or value is None:
        raise ValueError(f"`{name}` must be {condition}, got {value!r}.")
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "iuf":
            raise TypeError
        return array.astype(float)
    except (TypeError, ValueError):
        raise ValueError(f"`{name}` must be {condition}, got {value!r}.") from None


def _require(name: str, array: NDArray[np.float64], good: NDArray[np.bool_], condition: str) -> None:
    """Raise with the first offending entry unless every entry is good (NaN never is)."""
    if not np.all(good):
        first = float(array[~good].flat[0]) if array.ndim else float(array)
        raise ValueError(f"`{name}` must be {condition}, got {first:g}.")


def check_alpha(value: ArrayLike, name: str = "alpha") -> NDArray[np.float64]:
    """Return a Beta concentration as float64: any number in [0, inf], the limits included."""
    condition = "a number >= 0 (0 and inf stand for the limits)"
    array = _numbers(name, value, condition)
    _require(name, array, array >= 0, condition)
    return array


def check_one_alpha(alpha: ArrayLike) -> float:
    """Return one Beta concentration in [0, inf]; a quadrature rule belongs to one."""
    array = check_alpha(alpha)
    if array.ndim:
        raise ValueError(
            f"`alpha` must be one number, got shape {array.shape}. Call once per value: a rule has one alpha."
        )
    return float(array)


def check_positive(name: str, value: ArrayLike, *, zero: bool = False) -> NDArray[np.float64]:
    """Return finite numbers > 0 (>= 0 with `zero`) as float64."""
    condition = "a finite number >= 0" if zero else "a finite number > 0"
    array = _numbers(name, value, condition)
    good = np.isfinite(array) & ((array >= 0) if zero else (array > 0))
    _require(name, array, good, condition)
    return array


def check_interval(
    name: str, value: ArrayLike, low: float, high: float, *, closed: str = "both"
) -> NDArray[np.float64]:
    """Return numbers inside an interval as float64; `closed` is "both", "neither", "left" or "right"."""
    left, right = closed in ("both", "left"), closed in ("both", "right")
    condition = f"in {'[' if left else '('}{low:g}, {high:g}{']' if right else ')'}"
    array = _numbers(name, value, condition)
    good = ((array >= low) if left else (array > low)) & ((array <= high) if right else (array < high))
    _require(name, array, good, condition)
    return array


def check_integer(name: str, value: Any, minimum: int) -> int:
    """Return a whole number >= minimum as int; booleans and 3.5 are refused, 3.0 is taken."""
    condition = f"a whole number >= {minimum}"
    number = _numbers(name, value, condition)
    if number.ndim or isinstance(value, bool | np.bool_):
        raise ValueError(f"`{name}` must be {condition}, got {value!r}.")
    if not (math.isfinite(number) and number == int(number) and number >= minimum):
        raise ValueError(f"`{name}` must be {condition}, got {float(number):g}.")
    return int(number)


def check_array(name: str, value: ArrayLike, ndim: int | tuple[int, ...]) -> NDArray[np.float64]:
    """Return a non-empty array of finite numbers with the stated number of axes as float64."""
    wanted = (ndim,) if isinstance(ndim, int) else ndim
    condition = f"a finite array with {' or '.join(map(str, wanted))} axes"
    array = _numbers(name, value, condition)
    if array.ndim not in wanted:
        raise ValueError(f"`{name}` must be {condition}, got shape {array.shape}.")
    if array.size == 0:
        raise ValueError(f"`{name}` must not be empty, got shape {array.shape}.")
    _require(name, array, np.isfinite(array), condition)
    return array


def check_choice(name: str, value: Any, options: Iterable[str]) -> str:
    """Return a string that is one of the options, which the error lists."""
    valid = tuple(options)
    if not isinstance(value, str) or value not in valid:
        raise ValueError(f"`{name}` must be one of {', '.join(valid)}; got {value!r}.")
    return value
