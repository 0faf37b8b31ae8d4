"""SVG charts by matplotlib, from the [report] extra.  Equal data gives equal bytes.

Series differ by color, marker and dashes together, and named in a legend.  Colors are those of Okabe and Ito
("Color Universal Design", 2008), which color-blind readers can tell apart, without the yellow that white swallows.
"""

from __future__ import annotations

import importlib.util
import io
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gan_export._lib.escape import Html, Text, html, html_text, svg
from gan_export.errors import UnavailableError, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_MARKERS = "os^Dv<>Pp*hX"
_DASHES = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
_WIDTH = 5.0  # inches, 360 points: at 400 pixels wide the text of 9 points is 10 pixels high
_TEXT = 9.0  # points
_ROW = 0.19  # inches of a legend's row
_MARKED = 12  # markers per line, if it has more points
_NAME = 60  # characters of a name that are shown

LogAxes = Literal["", "xy"]


@dataclass(frozen=True, slots=True)
class Series:
    """A named line through points.

    intervals: (low, high) of each y, drawn as error bars; none if empty
    reference: what the others are compared with: dashed, gray, without markers
    """

    name: str
    points: tuple[tuple[float, float], ...]
    intervals: tuple[tuple[float, float], ...] = ()
    reference: bool = False


@dataclass(frozen=True, slots=True)
class Box:
    """A distribution as its percentiles 1, 25, 50, 75 and 99."""

    name: str
    percentiles: tuple[float, float, float, float, float]


def require() -> None:
    """Raise UnavailableError if matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise UnavailableError("matplotlib is not installed; pip install 'gan-export[report]'")


def lines(
    series: Sequence[Series], x_label: str, y_label: str, *, log: LogAxes = "", x_ticks: Sequence[float] = ()
) -> Text[Html]:
    """Return a chart of `series` as an <svg> element; nothing if none has a point.  `log`: the logarithmic axes."""
    shown = [s for s in series if s.points]
    if not shown:
        return html("")
    with _figure(2.9 + _ROW * math.ceil(len(shown) / 2), f"{y_label} by {x_label}") as (figure, axes, as_svg):
        if log:
            axes.set_xscale("log")
            axes.set_yscale("log")
        handles = [_draw(axes, s, i) for i, s in enumerate(shown)]
        _scale(axes.xaxis, [x for s in shown for x, _ in s.points], log)
        _scale(axes.yaxis, [v for s in shown for v in _heights(s)], log)
        if x_ticks:
            axes.set_xticks(list(x_ticks))
            axes.set_xticks([], minor=True)
        axes.set_xlabel(x_label)
        axes.set_title(y_label, loc="left", fontsize=_TEXT)  # a long one beside the axis would be cut
        names = [f"{i}" for i in range(len(handles))]  # matplotlib leaves out names that begin with an underscore
        legend = figure.legend(handles, names, loc="outside lower left", ncols=2, frameon=False)
        for text, s in zip(legend.get_texts(), shown, strict=True):
            text.set_text(printable(s.name, _NAME))
        return as_svg()


def boxes(rows: Sequence[Box], x_label: str) -> Text[Html]:
    """Return a chart of `rows`, each with its name above it, as an <svg> element; nothing if there are none.

    The whiskers reach from percentile 1 to 99, the box from 25 to 75, and the line in it is the median.
    """
    if not rows:
        return html("")
    with _figure(0.7 + 0.45 * len(rows), x_label) as (_, axes, as_svg):
        keys = ("whislo", "q1", "med", "q3", "whishi")
        stats = [dict(zip(keys, row.percentiles, strict=True)) for row in rows]
        places = range(len(rows), 0, -1)
        axes.bxp(
            [{**s, "fliers": []} for s in stats], positions=list(places), orientation="horizontal", widths=0.35,
            showfliers=False, patch_artist=True, boxprops={"facecolor": COLORS[4], "linewidth": 0.8},
            medianprops={"color": "black", "linewidth": 2}, whiskerprops={"linewidth": 1}, capprops={"linewidth": 1},
        )  # fmt: skip
        axes.set_xscale("log")
        values = [v for row in rows for v in row.percentiles]
        _scale(axes.xaxis, values, "xy")
        axes.set_yticks([])
        axes.set_ylim(0.5, len(rows) + 0.85)
        for at, row in zip(places, rows, strict=True):
            name = printable(row.name, _NAME)
            axes.annotate(name, (0, at + 0.3), xycoords=("axes fraction", "data"), xytext=(4, 0),
                          textcoords="offset points")  # fmt: skip
        axes.set_xlabel(x_label)
        return as_svg()


def number(value: float) -> str:
    """Return a tick's text: 1500 as 1.5k, and 4096 as it is."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size and float(f"{value / size:.3g}") == value / size:
            return f"{value / size:g}{unit}"
    return f"{round(value, 12):g}"


def _draw(axes: Axes, series: Series, index: int) -> Line2D:
    xs, ys = zip(*series.points, strict=True)
    if series.reference:
        return axes.plot(xs, ys, color="#555555", linestyle=(0, (4, 2)), linewidth=1.1, zorder=1.5)[0]
    color = COLORS[index % len(COLORS)]
    dashes = _DASHES[index // len(COLORS) % len(_DASHES)]
    if series.intervals:
        lows, highs = zip(*series.intervals, strict=True)
        axes.vlines(xs, lows, highs, color=color, linewidth=1)
    return axes.plot(
        xs, ys, color=color, linestyle=dashes, linewidth=1.2, marker=_MARKERS[index % len(_MARKERS)], markersize=4,
        markevery=max(1, len(xs) // _MARKED),
    )[0]  # fmt: skip


def _heights(series: Series) -> list[float]:
    return [y for _, y in series.points] + [v for interval in series.intervals for v in interval]


def _scale(axis: Axis, values: Sequence[float], log: LogAxes) -> None:
    """Set ticks with plain numbers: on a logarithmic axis 1, 2, 5 times the powers of ten, if they are few."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    if log:
        decades = math.log10(max(values) / min(values))
        axis.set_major_locator(LogLocator(subs=(1.0,) if decades > 3 else (1.0, 2.0, 5.0)))
        axis.set_minor_locator(NullLocator())


@contextmanager
def _figure(height: float, label: str) -> Iterator[tuple[Figure, Axes, _Svg]]:
    """Yield a figure with settings that the user's matplotlibrc doesn't change.

    `label` describes it to screen readers.
    """
    require()
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({
            "svg.hashsalt": label, "svg.fonttype": "none", "font.family": "sans-serif", "font.size": _TEXT,
            "text.parse_math": False, "axes.grid": True, "grid.color": "#dddddd", "grid.linewidth": 0.6,
            "axes.axisbelow": True, "axes.spines.top": False, "axes.spines.right": False,
        })  # fmt: skip
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        yield figure, figure.add_subplot(), _Svg(figure, label)


@dataclass(frozen=True, slots=True)
class _Svg:
    figure: Figure
    label: str

    def __call__(self) -> Text[Html]:
        """Return the figure as an <svg> element that can be used in an HTML page beside others.

        matplotlib's style sheet would apply to the whole page, and its group names repeat in each figure.
        """
        file = io.StringIO()
        with warnings.catch_warnings():
            # of names in scripts that the measuring font lacks; the user's font may have them
            warnings.simplefilter("ignore")
            self.figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
        text = file.getvalue()
        body = text[text.index(">", text.index("<svg")) + 1 :].strip()
        for superfluous in (r"<metadata>.*?</metadata>", r"<defs>\s*<style.*?</style>\s*</defs>", r"<!--.*?-->"):
            body = re.sub(superfluous, "", body, flags=re.DOTALL)
        body = re.sub(r'<g id="[^"]*"', "<g", body).replace("xlink:href=", "href=")
        width, height = (72 * inches for inches in self.figure.get_size_inches())
        return svg(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
            f'aria-label="{html_text(self.label)!s}" style="stroke-linejoin: round; stroke-linecap: butt">{body}'
        )
