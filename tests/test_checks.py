"""Every input check: what passes unchanged, what is refused, and that the message names all of it."""

from __future__ import annotations

import numpy as np
import pytest

from mixup_theory import _checks


def test_what_is_right_passes_as_float64() -> None:
    assert _checks.check_alpha([0, 1, np.inf]).tolist() == [0.0, 1.0, np.inf]
    assert float(_checks.check_positive("x", 2)) == 2.0
    assert float(_checks.check_positive("x", 0, zero=True)) == 0.0
    assert float(_checks.check_interval("x", 0.5, 0, 1)) == 0.5
    assert _checks.check_integer("n", 3.0, 1) == 3
    assert _checks.check_array("x", [1, 2], 1).dtype == np.float64
    assert _checks.check_choice("kind", "a", ("a", "b")) == "a"
    assert isinstance(_checks.as_result(np.array(2)), float)
    assert _checks.as_result([1, 2]).shape == (2,)


@pytest.mark.parametrize("bad", [-1, float("nan"), "1", None, [1, -2], 1j, object(), [[1], [1, 2]]])
def test_alpha(bad: object) -> None:
    with pytest.raises(ValueError, match=r"`alpha` must be a number >= 0 \(0 and inf stand for the limits\), got"):
        _checks.check_alpha(bad)


@pytest.mark.parametrize("bad", [0, -1, float("nan"), float("inf"), "2"])
def test_positive(bad: object) -> None:
    with pytest.raises(ValueError, match="`sigma` must be a finite number > 0, got"):
        _checks.check_positive("sigma", bad)


@pytest.mark.parametrize(
    ("closed", "bad", "shown"), [("both", 1.1, r"\[0, 1\]"), ("neither", 0, r"\(0, 1\)"), ("left", 1, r"\[0, 1\)")]
)
def test_interval(closed: str, bad: float, shown: str) -> None:
    with pytest.raises(ValueError, match=f"`rho` must be in {shown}, got {bad:g}"):
        _checks.check_interval("rho", bad, 0, 1, closed=closed)


@pytest.mark.parametrize("bad", [0, 1.5, True, float("nan"), float("inf"), [2], "2"])
def test_integer(bad: object) -> None:
    with pytest.raises(ValueError, match="`n` must be a whole number >= 1, got"):
        _checks.check_integer("n", bad, 1)


@pytest.mark.parametrize(
    ("bad", "message"), [([], "must not be empty"), (1.0, "with 1 axes"), ([np.inf], "finite array")]
)
def test_array(bad: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _checks.check_array("x", bad, 1)


def test_choice_lists_the_options() -> None:
    with pytest.raises(ValueError, match="`partner` must be one of a, b; got 'c'"):
        _checks.check_choice("partner", "c", ("a", "b"))
