"""The figure style: what is drawn, what the axes say, what is written, and that no warning surfaces."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from scipy import stats

mpl.use("agg")

import matplotlib.pyplot as plt

from mixup_theory.plots import (
    MARKERS,
    PALETTE,
    alpha_axis,
    alpha_grid,
    figure,
    measured_points,
    prediction_line,
    save,
    use_style,
)

ALPHAS = [0, 0.1, 1, 10, np.inf]


@pytest.fixture(autouse=True)
def _close_figures():
    with mpl.rc_context():
        yield
        plt.close("all")


def bars_of(container):
    """Return the lower and upper ends of the drawn error bars."""
    (collection,) = container[2]
    segments = np.array(collection.get_segments())
    return segments[:, 0, 1], segments[:, 1, 1]


def test_a_figure_has_its_labels():
    fig, ax = figure("Shrinkage", "batch size", "factor")
    assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()) == ("Shrinkage", "batch size", "factor")
    assert tuple(fig.get_size_inches()) == (6.4, 4.0)
    fig, axes = figure(["a", "b"], "x", ["u", "v"], num_panels=2)
    assert [(ax.get_title(), ax.get_ylabel()) for ax in axes] == [("a", "u"), ("b", "v")]
    _, axes = figure("", "x", "y", num_panels=3, share_y=True, size=(9, 3))
    assert [ax.get_ylabel() for ax in axes] == ["y", "", ""]
    assert axes[0].get_shared_y_axes().joined(axes[0], axes[2])


def test_a_figure_refuses_labels_that_do_not_match():
    with pytest.raises(ValueError, match="`title` must be one text or 2"):
        figure(["a"], "x", "y", num_panels=2)
    with pytest.raises(ValueError, match="num_panels"):
        figure(num_panels=0)


def test_a_prediction_is_a_line_without_markers():
    _, ax = figure()
    line = prediction_line(ax, [1, 2, 3], [0.5, 0.4, 0.3], "said", color=1, linestyle="--")
    np.testing.assert_array_equal(line.get_xydata(), [[1, 0.5], [2, 0.4], [3, 0.3]])
    assert (line.get_label(), line.get_color(), line.get_linestyle()) == ("said", PALETTE[1], "--")
    assert line.get_marker() in ("None", None)


def test_measurements_are_points_with_the_t_interval():
    _, ax = figure()
    rows = [[1.0, 2.0, 4.0], [0.5, 0.7, 0.1, 0.2], [3.0]]
    drawn = measured_points(ax, [1, 2, 3], rows, "seen", color=2)
    means = [np.mean(row) for row in rows]
    np.testing.assert_allclose(drawn[0].get_xydata(), np.column_stack([[1, 2, 3], means]))
    low, high = bars_of(drawn)
    for k in (0, 1):
        expected = stats.ttest_1samp(rows[k], 0).confidence_interval(0.95)
        np.testing.assert_allclose((low[k], high[k]), expected)
    assert (low[2], high[2]) == (3.0, 3.0)
    assert drawn.get_label() == "seen"
    assert drawn[0].get_linestyle() == "None"
    assert (drawn[0].get_marker(), drawn[0].get_color()) == (MARKERS[2], PALETTE[2])


def test_the_level_of_the_interval_is_an_argument():
    _, ax = figure()
    values = np.random.default_rng(0).normal(size=(2, 6))
    low, high = bars_of(measured_points(ax, [1, 2], values, level=0.8))
    expected = np.array([stats.ttest_1samp(row, 0).confidence_interval(0.8) for row in values])
    np.testing.assert_allclose(np.column_stack([low, high]), expected)


def test_units_without_spread_have_a_bar_of_length_zero():
    _, ax = figure()
    low, high = bars_of(measured_points(ax, [1], [[1.0, 1.0, 1.0]]))
    assert (low[0], high[0]) == (1.0, 1.0)


def test_means_and_intervals_may_be_given():
    _, ax = figure()
    drawn = measured_points(ax, [1, 2], mean=[0.5, 0.6], interval=([0.4, 0.6], [0.9, 0.7]), marker="x")
    low, high = bars_of(drawn)
    np.testing.assert_allclose(low, [0.4, 0.6])
    np.testing.assert_allclose(high, [0.9, 0.7])
    assert drawn[0].get_marker() == "x"
    low, high = bars_of(measured_points(ax, [1], mean=[0.5]))
    assert (low[0], high[0]) == (0.5, 0.5)


def test_what_cannot_be_drawn_is_refused():
    _, ax = figure()
    with pytest.raises(ValueError, match="shape of `x`"):
        prediction_line(ax, [1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="finite"):
        prediction_line(ax, [1, np.inf], [1, 2])
    with pytest.raises(ValueError, match="one entry per point"):
        measured_points(ax, [1, 2, 3], [[1.0], [2.0]])
    with pytest.raises(ValueError, match="finite"):
        measured_points(ax, [1], [[np.nan, 1.0]])
    with pytest.raises(ValueError, match="both or neither"):
        measured_points(ax, [1])
    with pytest.raises(ValueError, match="both or neither"):
        measured_points(ax, [1], [[1.0]], mean=[1.0])
    with pytest.raises(ValueError, match="wrong side"):
        measured_points(ax, [1], mean=[1.0], interval=([1.1], [1.2]))


def test_series_without_a_colour_take_the_next_of_the_palette():
    _, ax = figure()
    colors = [prediction_line(ax, [0, 1], [0, 1]).get_color() for _ in range(2)]
    colors.append(measured_points(ax, [1], [[1.0]])[0].get_color())
    assert [mpl.colors.to_hex(color).upper() for color in colors] == list(PALETTE[:3])


def test_the_axis_of_alpha_has_room_for_its_limits():
    _, ax = figure()
    at = alpha_axis(ax, ALPHAS)
    np.testing.assert_allclose(ax.get_xticks(), at(ALPHAS))
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "0.1", "1", "10", r"$\infty$"]
    assert ax.get_xlabel() == r"$\alpha$"
    np.testing.assert_allclose(at([0.1, 1, 10]), [-1, 0, 1], atol=1e-15)
    assert np.all(np.diff(at(alpha_grid(ALPHAS))) > 0)
    assert len(ax.lines) == 2  # the two breaks of the scale
    drawn = measured_points(ax, at(ALPHAS), [[1.0, 2.0]] * 5)
    np.testing.assert_allclose(drawn[0].get_xdata(), at(ALPHAS))


def test_the_axis_of_alpha_keeps_a_label_and_sorts_its_ticks():
    _, ax = figure(xlabel="alpha at the start")
    at = alpha_axis(ax, [4, 0.5, 4])
    assert ax.get_xlabel() == "alpha at the start"
    np.testing.assert_allclose(ax.get_xticks(), np.log10([0.5, 4]))
    assert len(ax.lines) == 0
    with pytest.raises(ValueError, match="no tick"):
        at(0)
    with pytest.raises(ValueError, match="alpha"):
        at(-1)


@pytest.mark.parametrize("alphas", [[0], [np.inf], [0, np.inf], [1.0], [0, 1]])
def test_the_axis_of_alpha_with_few_values(alphas):
    _, ax = figure()
    positions = alpha_axis(ax, alphas)(alphas)
    assert np.all(np.diff(positions) > 0)
    assert np.all(np.isfinite(positions))


@pytest.mark.parametrize("bad", [[], [-1], [np.nan], "alpha"])
def test_the_axis_of_alpha_refuses(bad):
    _, ax = figure()
    with pytest.raises(ValueError, match="alphas"):
        alpha_axis(ax, bad)


def test_the_grid_of_alpha():
    grid = alpha_grid(ALPHAS, 5)
    assert (grid[0], grid[-1]) == (0, np.inf)
    np.testing.assert_allclose(grid[1:-1], np.geomspace(0.1, 10, 5))
    assert len(alpha_grid([0.1, 1])) == 200
    with pytest.raises(ValueError, match="two different finite"):
        alpha_grid([0, 1, np.inf])


def test_a_saved_figure_is_a_whole_png_and_the_same_each_time(tmp_path):
    contents = []
    for _ in range(2):
        fig, ax = figure("t", "x", "y")
        prediction_line(ax, [0, 1], [0, 1])
        measured_points(ax, [0, 1], [[0.0, 0.1], [1.0, 1.2]])
        path = save(fig, tmp_path / "figures" / "one.png")
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
    assert plt.imread(path).shape[:2] == (600, 960)
    assert os.listdir(path.parent) == ["one.png"]
    assert plt.imread(save(fig, path, dpi=50)).shape[:2] == (200, 320)
    with pytest.raises(ValueError, match=r"must end in \.png"):
        save(fig, tmp_path / "one.pdf")


def test_palette_and_markers_go_together():
    assert len(PALETTE) == len(MARKERS) == len(set(PALETTE)) == len(set(MARKERS))


def test_what_seaborn_does_not_know_of_matplotlib_does_not_surface():
    import seaborn as sns

    frame = pd.DataFrame({"x": list("ab") * 20, "y": np.arange(40.0), "z": list("cddc") * 10})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        use_style()
        for plot in (sns.boxplot, sns.violinplot, sns.stripplot, sns.pointplot, sns.barplot):
            plot(data=frame, x="x", y="y", hue="z", ax=figure()[1])
        sns.FacetGrid(frame, col="x").map_dataframe(sns.histplot, x="y")
        import seaborn.objects as so

        so.Plot(frame, x="x", y="y", color="z").add(so.Dot(), so.Agg()).plot()


def test_importing_the_style_opens_no_window_and_imports_neither_pyplot_nor_torch():
    program = (
        "import sys, mixup_theory.plots, mixup_theory.ledger\n"
        "print([m for m in ('matplotlib.pyplot', 'seaborn', 'torch', 'statsmodels') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
