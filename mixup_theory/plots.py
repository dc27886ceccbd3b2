"""The one figure style: a prediction is a line, a measurement is points with intervals."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import ArrayLike, NDArray
from scipy import special

from mixup_theory._checks import check_alpha, check_array, check_integer, check_interval
from mixup_theory._files import write_bytes_atomic

if TYPE_CHECKING:
    from matplotlib.container import ErrorbarContainer
    from matplotlib.lines import Line2D

__all__ = [
    "MARKERS",
    "PALETTE",
    "alpha_axis",
    "alpha_grid",
    "figure",
    "measured_points",
    "prediction_line",
    "save",
    "use_style",
]

# Okabe and Ito 2008, told apart with every common colour vision; black and yellow left out (text, too pale).
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P")  # a second sign beside the colour, for print in grey


def use_style() -> None:
    """Set the style for every figure of this process, and silence what seaborn does not know of matplotlib yet."""
    import seaborn  # a second of import that a command-line tool should not pay

    seaborn.set_theme(context="notebook", style="ticks", palette=list(PALETTE))
    mpl.rcParams.update(
        {
            "figure.figsize": (6.4, 4.0),
            "figure.dpi": 100,
            "font.size": 11,
            "axes.titlesize": 12,
            "axes.labelsize": 11,
            "xtick.labelsize": 10,
            "ytick.labelsize": 10,
            "legend.fontsize": 9.5,
            "legend.frameon": False,
            "axes.grid": True,
            "grid.color": "#e6e6e6",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "lines.linewidth": 1.8,
            "lines.markersize": 5.5,
            "svg.hashsalt": "mixup_theory",
        }
    )
    # seaborn 0.13.2: box plots pass `vert`, deprecated in matplotlib 3.11; seaborn.objects passes pandas `copy`.
    warnings.filterwarnings("ignore", message=r"vert: bool (was|will be) deprecated")
    warnings.filterwarnings("ignore", message=r"The copy keyword is deprecated", module=r"seaborn\b")


def figure(
    title: str | Sequence[str] = "",
    xlabel: str = "",
    ylabel: str | Sequence[str] = "",
    *,
    num_panels: int = 1,
    size: tuple[float, float] | None = None,
    share_y: bool = False,
) -> tuple[Figure, Any]:
    """Open a figure in the style with its labels set, so that none is forgotten.

    Args:
        title: Of the panel, or one per panel.
        xlabel: Of every panel.
        ylabel: Of every panel, or one per panel; with `share_y` only the first panel shows it.
        num_panels: Panels side by side.
        size: Width and height in inches; by default 6.4 x 4.0 for one panel, 4.4 x 3.8 each for more.
        share_y: Whether the panels share their vertical axis.

    Returns:
        The figure, and its axes: one Axes, or an array of them [num_panels].

    Raises:
        ValueError: If there is not one title or label per panel.
    """
    import matplotlib.pyplot as plt

    use_style()
    num_panels = check_integer("num_panels", num_panels, 1)
    size = size or ((6.4, 4.0) if num_panels == 1 else (4.4 * num_panels, 3.8))
    fig, grid = plt.subplots(1, num_panels, figsize=size, sharey=share_y, squeeze=False, layout="constrained")
    texts = {}
    for name, text in (("title", title), ("ylabel", ylabel)):
        texts[name] = [text] * num_panels if isinstance(text, str) else list(text)
        if len(texts[name]) != num_panels:
            plt.close(fig)
            raise ValueError(f"`{name}` must be one text or {num_panels} of them, got {len(texts[name])}.")
    for index, ax in enumerate(grid[0]):
        ax.set(title=texts["title"][index], xlabel=xlabel)
        ax.set_ylabel("" if share_y and index else texts["ylabel"][index])
    return fig, (grid[0, 0] if num_panels == 1 else grid[0])


def prediction_line(
    ax: Axes, x: ArrayLike, y: ArrayLike, label: str | None = "predicted", *, color: Any = None, **style: Any
) -> Line2D:
    """Draw a prediction: a line without markers, below the points.

    Args:
        ax: Where.
        x: Abscissae, shape [n], increasing.
        y: Predicted values, shape [n].
        label: For the legend.
        color: A colour, or the number of a colour of the palette; by default the next one.
        **style: Passed to `Axes.plot`.

    Returns:
        The line.

    Raises:
        ValueError: If the shapes differ or a number is not finite.
    """
    xs, ys = check_array("x", x, 1), check_array("y", y, 1)
    if xs.shape != ys.shape:
        raise ValueError(f"`y` must have the shape of `x`, {xs.shape}, got {ys.shape}.")
    (line,) = ax.plot(xs, ys, **{"label": label, "color": _color(color), "zorder": 2, **style})
    return line


def measured_points(
    ax: Axes,
    x: ArrayLike,
    values: Sequence[ArrayLike] | ArrayLike | None = None,
    label: str | None = "measured",
    *,
    mean: ArrayLike | None = None,
    interval: tuple[ArrayLike, ArrayLike] | None = None,
    level: float = 0.95,
    color: Any = None,
    marker: str | None = None,
    **style: Any,
) -> ErrorbarContainer:
    """Draw measurements: a point with its interval for every abscissa, joined by nothing.

    Args:
        ax: Where.
        x: Abscissae, shape [n].
        values: For every abscissa one number per independent unit: an array [n, units] or n sequences. Drawn as
            the mean with its t interval (a bare point for one unit).
        label: For the legend.
        mean: Instead of `values`: the points, shape [n].
        interval: With `mean`: lower and upper ends, shape [n] each; none drawn without it.
        level: Of the t interval.
        color: A colour, or the number of a colour of the palette; by default the next one.
        marker: A matplotlib marker; by default the one that goes with a numbered colour.
        **style: Passed to `Axes.errorbar`.

    Returns:
        The points and bars.

    Raises:
        ValueError: If neither or both of `values` and `mean` are given, the shapes differ, or a number is not finite.
    """
    xs = check_array("x", x, 1)
    if (values is None) == (mean is None):
        raise ValueError("`values` must be given, or `mean` and `interval`, and not both; got both or neither.")
    if values is not None:
        low, centre, high = _summaries(values, level)
    else:
        centre = check_array("mean", mean, 1)  # type: ignore[arg-type]
        ends = (centre, centre) if interval is None else interval
        low, high = check_array("interval", ends[0], 1), check_array("interval", ends[1], 1)
    if not xs.shape == centre.shape == low.shape == high.shape:
        raise ValueError(f"`x` must have one entry per point, {centre.shape}, got {xs.shape}.")
    if np.any(low > centre) or np.any(centre > high):
        raise ValueError("`interval` must hold the mean, lower end first; got an end on the wrong side.")
    chosen = marker or (MARKERS[color % len(MARKERS)] if isinstance(color, int) else MARKERS[0])
    look: dict[str, Any] = {"linestyle": "none", "capsize": 2.5, "elinewidth": 1.3, "zorder": 3, **style}
    bars = np.stack([centre - low, high - centre])
    return ax.errorbar(xs, centre, yerr=bars, label=label, color=_color(color), marker=chosen, **look)


def _summaries(values: Any, level: float) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return lower ends, means and upper ends of t intervals; a verdict needs spread, a picture does not."""
    check_interval("level", level, 0, 1, closed="neither")
    rows = [check_array("values", row, 1) for row in values]
    centre = np.array([row.mean() for row in rows])
    half = np.zeros(len(rows))
    for index, row in enumerate(rows):
        if len(row) > 1:
            half[index] = special.stdtrit(len(row) - 1, 0.5 + level / 2) * row.std(ddof=1) / np.sqrt(len(row))
    return centre - half, centre, centre + half


def _color(color: Any) -> Any:
    """Return the colour meant: a number counts in the palette, None leaves it to matplotlib's cycle."""
    return PALETTE[color % len(PALETTE)] if isinstance(color, int) else color


def alpha_axis(ax: Axes, alphas: ArrayLike) -> Callable[[ArrayLike], NDArray[np.float64]]:
    """Make the horizontal axis one of alpha, logarithmic, with room for 0 and infinity at its ends.

    Args:
        ax: Where.
        alphas: The values to tick, in [0, inf], at least one.

    Returns:
        The function from alpha to the position on the axis, for `prediction_line` and `measured_points`.

    Raises:
        ValueError: If a value is not in [0, inf] or a later one is 0 or inf where `alphas` had none.

    Example:
        >>> from matplotlib.figure import Figure
        >>> at = alpha_axis(Figure().subplots(), [0, 0.1, 1, 10, float("inf")])
        >>> at([0, 0.1, 10, float("inf")]).round(2).tolist()
        [-1.5, -1.0, 1.0, 1.5]
    """
    ticks = np.unique(check_alpha(alphas, "alphas"))
    if ticks.size == 0:
        raise ValueError("`alphas` must not be empty, got none.")
    finite = ticks[(ticks > 0) & np.isfinite(ticks)]
    ends = np.log10(finite[[0, -1]]) if finite.size else np.zeros(2)
    gap = 0.25 * max(ends[1] - ends[0], 1.0)

    def position(alpha: ArrayLike) -> NDArray[np.float64]:
        values = check_alpha(alpha)
        for limit in (0.0, np.inf):
            if np.any(values == limit) and limit not in ticks:
                raise ValueError(f"`alpha` must be among the limits of the axis, got {limit:g}, which has no tick.")
        with np.errstate(divide="ignore"):
            logs = np.log10(values)
        return np.where(values == 0, ends[0] - gap, np.where(np.isinf(values), ends[1] + gap, logs))

    ax.set_xticks(position(ticks), [_alpha_text(alpha) for alpha in ticks])
    ax.xaxis.set_minor_locator(NullLocator())
    for limit, edge in ((0.0, ends[0] - gap / 2), (np.inf, ends[1] + gap / 2)):
        if limit in ticks:  # the axis is not to scale across this line
            ax.axvline(edge, color="#b0b0b0", linewidth=0.8, linestyle=(0, (2, 3)), zorder=0)
    if not ax.get_xlabel():
        ax.set_xlabel(r"$\alpha$")
    return position


def _alpha_text(alpha: float) -> str:
    return r"$\infty$" if np.isinf(alpha) else f"{alpha:g}"


def alpha_grid(alphas: ArrayLike, num_points: int = 200) -> NDArray[np.float64]:
    """Return a fine increasing grid of alpha for a prediction: finite between the ends, the limits as they are.

    Args:
        alphas: The values measured, in [0, inf], two different finite positive ones among them.
        num_points: Finite points of the grid.

    Returns:
        The grid, with 0 and inf where `alphas` has them.

    Raises:
        ValueError: If a value is not in [0, inf], or fewer than two are finite and positive.
    """
    ticks = np.unique(check_alpha(alphas, "alphas"))
    finite = ticks[(ticks > 0) & np.isfinite(ticks)]
    if finite.size < 2:
        raise ValueError(f"`alphas` must have two different finite values > 0, got {ticks.tolist()}.")
    dense = np.geomspace(finite[0], finite[-1], check_integer("num_points", num_points, 2))
    return np.concatenate([ticks[ticks == 0], dense, ticks[np.isinf(ticks)]])


def save(fig: Figure, path: str | os.PathLike[str], dpi: int = 150) -> Path:
    """Write a figure as PNG, whole or not at all, the same bytes for the same figure.

    Args:
        fig: The figure; it stays open, so that a notebook shows it.
        path: Where; the name ends in .png.
        dpi: Pixels per inch.

    Returns:
        The path written.

    Raises:
        ValueError: If the name does not end in .png.
    """
    if Path(path).suffix.lower() != ".png":
        raise ValueError(f"`path` must end in .png, got {str(path)!r}.")
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return write_bytes_atomic(path, buffer.getvalue())
