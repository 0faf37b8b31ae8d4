"""Plot a run's figures: throughput by batch size, the distribution of calls, the roofline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gan_export._lib import charts
from gan_export._lib.escape import Html, Text, html
from gan_export.bench import summary
from gan_export.bench.record import Run
from gan_export.bench.summary import Line

Figure = tuple[Text[Html], str]  # an <svg> element and its caption


def figures(run: Run) -> list[Figure]:
    """Return the figures of all rows that have a speed; none if no row has one."""
    lines = [line for line in summary.lines(run) if line.quantity == "model" and line.rate is not None]
    drawn = [_throughput(lines), _distribution(run, lines), _roofline(run, lines)]
    return [(svg, caption) for svg, caption in drawn if svg]


def _titles(lines: Sequence[Line]) -> dict[str, str]:
    return {line.entry.contender: summary.title(line.entry) for line in lines}


def _throughput(lines: Sequence[Line]) -> Figure:
    series = []
    for name, title in _titles(lines).items():
        own = [(float(line.batch), line.rate) for line in lines if line.entry.contender == name and line.rate]
        points = tuple((batch, rate.value) for batch, rate in own)
        series.append(charts.Series(title, points, tuple((rate.low, rate.high) for _, rate in own)))
    batches = sorted({float(line.batch) for line in lines})
    svg = charts.lines(series, "batch size", "images per second", log="xy", x_ticks=batches)
    return svg, "Throughput. The bars are 95 % intervals."


def _distribution(run: Run, lines: Sequence[Line]) -> Figure:
    batch = min((line.batch for line in lines), default=0)
    titles = _titles([line for line in lines if line.batch == batch])
    boxes = []
    for row in run.rows:
        if (row.quantity, row.batch) == ("model", batch) and row.contender in titles:
            calls = np.concatenate([np.asarray(b, np.float64) for b in summary.proven(row)[0]]) * 1e-6
            low, quarter, middle, three, high = (float(v) for v in np.percentile(calls, (1, 25, 50, 75, 99)))
            boxes.append(charts.Box(titles[row.contender], (low, quarter, middle, three, high)))
    caption = f"A call at batch {batch}: whiskers from percentile 1 to 99, box from 25 to 75, line at the median."
    return charts.boxes(boxes, "milliseconds per call"), caption


def _roofline(run: Run, lines: Sequence[Line]) -> Figure:
    caption = "Roofline. Bytes: each layer's input and output once, the weights once per call. Dashed: measured peaks."
    model, peak = run.model, run.peak
    if not lines or peak is None or not model.flops or not model.bytes or not model.weights:
        return html(""), caption
    series = []
    for name, title in _titles(lines).items():
        own = [(line.batch, line.rate) for line in lines if line.entry.contender == name and line.rate]
        points = tuple(
            (model.flops / (model.bytes + model.weights / batch), model.flops * rate.value / 1e9) for batch, rate in own
        )
        series.append(charts.Series(title, points))
    intensities = [x for s in series for x, _ in s.points]
    top = max(peak.flops.values()) / 1e9
    ridge = top / (peak.bytes / 1e9)
    low, high = min(*intensities, ridge) / 1.5, max(*intensities, ridge) * 1.5
    roofs = [
        charts.Series("peak of matrix products", ((ridge, top), (high, top)), reference=True),
        charts.Series("peak of memory", ((low, low * peak.bytes / 1e9), (ridge, top)), reference=True),
    ]
    return charts.lines([*series, *roofs], "FLOP per byte moved", "GFLOP per second", log="xy"), caption
