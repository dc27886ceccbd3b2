"""What a defence costs and spares: means with intervals, and leakage against a line of rivals at the same accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from .._checks import check_integer

__all__ = ["gain_over_line", "mean_text"]


def mean_text(values: ArrayLike, digits: int = 3, *, sign: bool = False) -> str:
    """Write the mean of independent units with the half width of its 95 % t interval.

    Args:
        values: One number per unit, shape [n]; NaN is left out.
        digits: Decimals.
        sign: Whether a mean above 0 gets its plus.

    Returns:
        Text such as "0.500 ± 0.021"; the mean alone for one unit.

    Raises:
        ValueError: If no value is a number.

    Example:
        >>> mean_text([1.0, 2.0, 3.0], 2), mean_text([0.25], sign=True)  # 4.303 / sqrt(3)
        ('2.00 ± 2.48', '+0.250')
    """
    x, places = np.asarray(values, dtype=float).ravel(), check_integer("digits", digits, 0)
    x = x[~np.isnan(x)]
    if not x.size:
        raise ValueError(f"`values` must hold a number, got {values!r}.")
    text = f"{x.mean():{'+' if sign else ''}.{places}f}"
    if len(x) == 1:
        return text
    return f"{text} ± {stdtrit(len(x) - 1, 0.975) * x.std(ddof=1) / np.sqrt(len(x)):.{places}f}"


def gain_over_line(accuracy: pd.DataFrame, leakage: pd.DataFrame, name: str, line: Sequence[str]) -> pd.Series:
    r"""Return by how much a defence leaks less than a line of rivals does at its mean accuracy, one value per unit.

    The rivals' mean accuracies and leakages are joined in the order of accuracy; one that is beaten in both is left
    out, and beyond an end the end is taken. With :math:`s` the slope where the defence's mean accuracy lies, a share
    :math:`w` of the way from rival a to rival b, the value of a unit is

    .. math:: (1-w)(l_a - s\,acc_a) + w(l_b - s\,acc_b) - (l - s\,acc).

    Its mean is the line at the defence's accuracy less the defence's leakage, and its spread to first order that of
    this difference, noise of the accuracies included (the delta method). One rival: the difference of leakages.

    Assumptions: units are independent, and their means lie where the line is straight; which rivals are beaten is
    taken as known.

    Args:
        accuracy: Test accuracy, a row per unit and a column per defence; units with a NaN in a column used are dropped.
        leakage: What leaks, with the same rows.
        name: The defence.
        line: Its rivals.

    Returns:
        Positive where the defence leaks less, indexed by unit.

    Raises:
        ValueError: If there is no rival, or no unit has them all.

    Example:
        >>> accuracy = pd.DataFrame({"short": [0.7, 0.7], "long": [0.9, 0.9], "mixup": [0.8, 0.8]})
        >>> leakage = pd.DataFrame({"short": [0.5, 0.5], "long": [0.7, 0.7], "mixup": [0.6, 0.55]})
        >>> gain_over_line(accuracy, leakage, "mixup", ["short", "long"]).round(3).tolist()
        [0.0, 0.05]
    """
    rivals = list(line)
    acc, leak = accuracy[[*rivals, name]].dropna(), leakage[[*rivals, name]].dropna()
    units = acc.index.intersection(leak.index)
    if not rivals or not len(units):
        raise ValueError(f"`line` must be rivals that share units with {name!r}, got {rivals} and {len(units)} units.")
    acc, leak = acc.loc[units], leak.loc[units]
    order = sorted(rivals, key=lambda rival: (acc[rival].mean(), -leak[rival].mean()))
    kept: list[str] = []
    for rival in reversed(order):  # from the most accurate down
        if not kept or leak[rival].mean() < leak[kept[0]].mean():
            kept.insert(0, rival)
    at, places = acc[name].mean(), acc[kept].mean().to_numpy()
    if not places[0] < at < places[-1]:
        return leak[kept[0 if at <= places[0] else -1]] - leak[name]
    b = int(np.searchsorted(places, at))
    low, high = kept[b - 1], kept[b]
    run = places[b] - places[b - 1]
    share, slope = (at - places[b - 1]) / run, (leak[high].mean() - leak[low].mean()) / run
    level = leak - slope * acc
    return (1 - share) * level[low] + share * level[high] - level[name]
