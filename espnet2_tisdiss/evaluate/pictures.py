"""Plots of quality and cost by depth, drawn without a display."""

import importlib.util
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import TYPE_CHECKING, Any

from espnet2_tisdiss.errors import TisdissError

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

SPECTROGRAM_RANGE_DB = 60.0
SPECTROGRAM_WINDOW_S = 0.032
MULTIPLY_ADDS = "cost: multiply-adds for a second of audio [GMAC/s]"


def require_matplotlib() -> None:
    """Check that plots can be drawn; called before long computations.

    Raises:
        TisdissError: matplotlib, an optional dependency, is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:  # without importing it, which is slow
        raise TisdissError("pictures need matplotlib: pip install matplotlib")


def draw_by_depth(
    n_re: Sequence[int],
    values: Sequence[float],
    label: str,
    title: str,
    limits: Mapping[str, float] | None = None,
) -> bytes:
    """Draw a quantity that grows with the depth, such as time or memory, on an axis from 0.

    Args:
        n_re: repetitions N_re, ascending.
        values: the quantity at each depth, >= 0.
        label: name of the quantity, with its unit.
        title: title of the plot.
        limits: horizontal lines by name; a line far above the values is left out.

    Returns:
        The content of a PNG file.
    """
    from matplotlib.ticker import MaxNLocator

    figure, axes = new_figure()
    axes.plot(n_re, values, "o-")
    for depth, value in zip(n_re, values, strict=True):
        axes.annotate(
            f"{value:.3g}", (depth, value), (0, 7), textcoords="offset points", ha="center"
        )
    top = 1.15 * max(values) or 1.0  # space for the numbers
    for name, level in (limits or {}).items():
        if level < 2 * top:
            axes.axhline(level, color="tab:red", linestyle="--", label=name)
            top = max(top, 1.05 * level)
            axes.legend(loc="lower right")
    axes.set(xlabel="repetitions N_re", ylabel=label, ylim=(0, top))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(title, fontsize="medium", wrap=True)
    axes.margins(x=0.08)
    axes.grid(alpha=0.3)
    return png(figure)


@dataclass(frozen=True)
class Quality:
    """Cost and SI-SNR improvement by depth on one data set.

    Attributes:
        n_re: repetitions N_re, ascending.
        cost: cost of each depth.
        gains: for each depth the SI-SNR improvement of each mixture, in dB.
    """

    n_re: Sequence[int]
    cost: Sequence[float]
    gains: Sequence[Sequence[float]]


def draw_quality(
    data_sets: Mapping[str, Quality], cost: str, published: Mapping[str, float] | None = None
) -> bytes:
    """Draw mean and spread (10 to 90 %) of SI-SNRi against cost, one line per data set.

    Args:
        data_sets: results by the name of the data set.
        cost: label of the cost axis, with its unit, such as :data:`MULTIPLY_ADDS`.
        published: SI-SNRi in dB of published results, by their names; they get horizontal lines,
            because their cost on this axis is not known.

    Returns:
        The content of a PNG file.
    """
    import numpy as np

    figure, axes = new_figure()
    for name, quality in data_sets.items():
        means = np.mean(quality.gains, axis=1)
        (line,) = axes.plot(quality.cost, means, "o-", label=name)
        low, high = np.percentile(quality.gains, [10, 90], axis=1)
        axes.fill_between(quality.cost, low, high, alpha=0.2, color=line.get_color(), linewidth=0)
        for n_re, *point in zip(quality.n_re, quality.cost, means, strict=True):
            axes.annotate(str(n_re), point, (0, 6), textcoords="offset points", ha="center")
    for (name, gain), style in zip((published or {}).items(), cycle([":", "--", "-."])):
        axes.axhline(gain, color="gray", linewidth=1, linestyle=style, label=f"{name}: {gain:g} dB")
    axes.set(xlabel=cost, ylabel="SI-SNR improvement [dB]")
    axes.set_title(
        "Mean over mixtures; band: 10 to 90 %; numbers: repetitions N_re", fontsize="medium"
    )
    axes.set_xlim(left=0)  # from 0, so that distances on the axis are proportional to cost
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=1 if published else 3)
    return png(figure)


@dataclass
class Curve:
    """The points of one line of a plot."""

    x: list[float] = field(default_factory=list)
    y: list[float] = field(default_factory=list)

    def add(self, x: float, y: float) -> None:
        """Add a point."""
        self.x.append(x)
        self.y.append(y)


def draw_curves(
    curves: Mapping[str, Curve],
    x_label: str,
    y_label: str,
    title: str,
    marks: Mapping[float, str] | None = None,
) -> bytes:
    """Draw curves in one plot, distinguished by line style as well as by colour.

    Args:
        curves: curves by name.
        x_label: label of the horizontal axis, with its unit.
        y_label: label of the vertical axis, with its unit.
        title: title of the plot.
        marks: text of vertical lines by their place on the horizontal axis.

    Returns:
        The content of a PNG file.
    """
    figure, axes = new_figure()
    styles = cycle(["o-", "s--", "^-.", "v:", "D-", "x--", "+-."])
    for (name, curve), style in zip(curves.items(), styles, strict=False):
        axes.plot(curve.x, curve.y, style, markersize=3, label=name)
    for place, text in (marks or {}).items():
        axes.axvline(place, color="gray", linewidth=0.8)
        top = axes.get_xaxis_transform()  # of the axes, from 0 to 1
        axes.text(place, 0.02, f" {text}", transform=top, fontsize="small", color="gray")
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.set_title(title, fontsize="medium")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3)
    return png(figure)


def draw_histogram(
    values: Mapping[str, Sequence[float]], label: str, count: str, bins: int = 20
) -> bytes:
    """Draw distributions of values as outlines, which differ by line style.

    Args:
        values: the values by name.
        label: name of the quantity, with its unit.
        count: what is counted, such as mixtures.
        bins: number of intervals.

    Returns:
        The content of a PNG file.
    """
    import numpy as np

    figure, axes = new_figure()
    edges = np.histogram_bin_edges(np.concatenate([*map(list, values.values())]), bins)
    for (name, ones), style in zip(values.items(), cycle(["-", "--", ":", "-."]), strict=False):
        axes.hist(ones, edges, histtype="step", linestyle=style, linewidth=1.6, label=name)
    axes.set(xlabel=label, ylabel=count)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3)
    return png(figure)


def draw_spectrograms(rows: Sequence[Mapping[str, "np.ndarray"]], rate: int) -> bytes:
    """Draw a grid of spectrograms, each with a range of 60 dB below its maximum.

    They are grey, so that nothing is lost in print: louder is darker.

    Args:
        rows: each row with the signals (n,) of its columns by title. All rows have the same number
            of columns, and all signals have the same length, one window or more.
        rate: sample rate in Hz.

    Returns:
        The content of a PNG file.
    """
    import numpy as np

    columns = len(rows[0])
    figure, grid = new_figure(
        (2.4 * columns + 0.8, 2.3 * len(rows)),
        nrows=len(rows),
        ncols=columns,
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    n_fft = round(SPECTROGRAM_WINDOW_S * rate)
    items = (item for row in rows for item in row.items())
    for axes, (title, signal) in zip(grid.flat, items, strict=True):
        power, *_, image = axes.specgram(
            signal, n_fft, rate, noverlap=3 * n_fft // 4, scale="linear", cmap="gray_r"
        )
        top = power.max() or 1.0  # silence
        least = 10 ** (-SPECTROGRAM_RANGE_DB / 10)
        image.set_data(10 * np.log10(np.maximum(image.get_array() / top, least)))
        image.set_clim(-SPECTROGRAM_RANGE_DB, 0)
        axes.set_title(title, fontsize="medium")
    for axes in grid[-1]:
        axes.set_xlabel("time [s]")
    for axes in grid[:, 0]:
        axes.set_ylabel("frequency [Hz]")
    figure.colorbar(image, ax=grid, label="level [dB re maximum]")
    return png(figure)


def new_figure(size: tuple[float, float] = (6, 4), **grid: Any) -> tuple["Figure", Any]:
    """Return an empty figure and its axes.

    Args:
        size: width and height in inches.
        **grid: arguments of matplotlib's ``Figure.subplots``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(**grid)


def png(figure: "Figure", dpi: int = 120) -> bytes:
    """Return a figure as the content of a PNG file, at ``dpi`` dots per inch."""
    content = io.BytesIO()
    figure.savefig(content, dpi=dpi, format="png")
    return content.getvalue()
