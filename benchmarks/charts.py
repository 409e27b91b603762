"""Charts as inline SVG: light, sharp at any size, in the page's colours by day and by night, and readable without them.

Every chart has a title that says what is seen, labelled axes, a mark and a dash of its own for each series besides its
colour (Okabe and Ito's, named by CSS variables ``--c0`` ...), a value to hover at each mark, and all of its numbers in
a table below. They are drawn 360 units wide, for a phone; a desktop has room for two side by side.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from worldmodel.benchmarks import chart_parts as part
from worldmodel.benchmarks.chart_parts import HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, Place
from worldmodel.benchmarks.markup import Html, table, tag


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points that belong together, with intervals if ``low`` and ``high`` are given."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    look: int = 0  # colour and mark
    dash: int = 0
    joined: bool = True  # by a line


@dataclass(frozen=True, kw_only=True)
class Point:
    """A value in a row of `rates` or `bars`."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


def lines(
    title: str, series: Sequence[Series], x: Axis, y: Axis, levels: Sequence[tuple[float, str]] = (), band: bool = False
) -> Html:
    """Curves or points over a common axis.

    Args:
        title: what is seen, or the quantity.
        series: one or more.
        x: axis across.
        y: axis upwards.
        levels: horizontal lines to compare with, and their names.
        band: intervals as bands along the curves instead of bars at the points.

    Values that an axis has no place for, such as zero on a logarithmic one, are in the table alone.
    """
    xs = [v for one in series for v in one.x]
    ys = [v for one in series for v in (*one.y, *one.low, *one.high)]
    at_x, x_ticks = part.scale(xs, x, LEFT + 8, WIDTH - RIGHT - 8)
    at_y, y_ticks = part.scale([*ys, *(v for v, _ in levels)], y, TOP + HEIGHT, TOP)
    drawn = [part.grid(y_ticks, at_y), *part.below(x, x_ticks, at_x), part.left_label(y.label)]
    drawn += [part.level(at_y(v), i) for i, (v, _) in enumerate(levels) if y.shows(v)]
    shown = [_shown(one, x, y) for one in series]
    for one in shown:
        drawn += _curve(one, at_x, at_y, band)
    if not any(one.x for one in shown):
        drawn.append(part.text(WIDTH / 2, TOP + HEIGHT / 2, "nothing to show on this axis: see the numbers", "middle"))
    keys = [(part.sample(one.look, one.dash, one.joined), one.name) for one in series]
    keys += [(part.level_sample(i), name) for i, (_, name) in enumerate(levels)]
    below, height = part.legend(keys, TOP + HEIGHT + (52 if x.second else 38))
    columns = [{u: _cell(one, i) for i, u in enumerate(one.x)} for one in series]
    rows = [[part.short(u), *(column.get(u, "") for column in columns)] for u in sorted(set(xs))]
    rows += [[name, *[part.short(v)] * len(series)] for v, name in levels]
    numbers = table([x.label, *(one.name for one in series)], rows, f"{y.label}: {title}")
    describe = f"{y.label} over {x.label}: {', '.join(name for _, name in keys)}."
    return _figure(title, describe, [*drawn, below], height, numbers)


def rates(title: str, rows: Sequence[tuple[str, Sequence[Point]]]) -> Html:
    """Shares between 0 and 100 %, a line for each row and a mark for each of its points, the first with emphasis.

    Args:
        title: what is seen.
        rows: their names and points, shares of 1; points of one name look the same in all rows.
    """
    names = _names(rows)
    step, left, right, label = 40.0, 8.0, WIDTH - RIGHT, "goals reached within the budget [%]; bars: Wilson 95 %"
    axis = Axis(label=label, low=0, high=1, ticks=(0, 0.25, 0.5, 0.75, 1))
    at, ticks = part.scale([], axis, left + 6, right - 6)
    bottom = TOP + step * len(rows) + 4
    drawn = [part.upright(at(t), f"{100 * t:.0f}", TOP, bottom) for t in ticks]
    drawn.append(part.text((left + right) / 2, bottom + 31, label, "middle", "label"))
    for i, (name, points) in enumerate(rows):
        y = TOP + step * i + 28
        drawn.append(part.text(left, y - 13, part.fit(name, 46), "start", "name"))
        drawn.append(tag("line", x1=at(0), x2=at(1), y1=y, y2=y, class_="axis"))
        for point in reversed(points):  # the first on top
            look = names.index(point.name)
            ends = () if point.low is None or point.high is None else (at(point.low), at(point.high))
            hover = tag("title", f"{name}, {point.name}: {_share(point)}")
            drawn.append(tag("g", hover, part.interval(look, y, *ends), part.mark(look, at(point.value), y, 4.6)))
    below, height = part.legend([(part.sample(i, 0, False), name) for i, name in enumerate(names)], bottom + 36)
    found = [(name, {point.name: _share(point) for point in points}) for name, points in rows]
    cells = [[name, *(shares.get(one, "") for one in names)] for name, shares in found]
    describe = "; ".join(f"{name}: {', '.join(map(' '.join, shares.items()))}" for name, shares in found)
    return _figure(title, describe, [*drawn, below], height, table(["", *names], cells, title))


def bars(
    title: str, rows: Sequence[tuple[str, Sequence[Point]]], label: str, low: float, high: float, most: int
) -> Html:
    """Groups of horizontal bars; a value beyond the axis ends at it, and the table has it.

    Args:
        title: what is seen.
        rows: a group each: its name and bars.
        label: of the axis.
        low: left end of the axis.
        high: right end.
        most: groups that are drawn; of more, the first and the last. The table has all.
    """
    names = _names(rows)
    left, thick, begin = 14 + 6.2 * min(18, max(len(name) for name, _ in rows)), 9.0, TOP
    at, ticks = part.scale([], Axis(label=label, low=low, high=high), left, WIDTH - RIGHT - 6)
    zero, drawn = at(min(max(0.0, low), high)), []
    for name, points in rows if len(rows) <= most else (*rows[: most // 2], *rows[-(most // 2) :]):
        drawn.append(part.text(left - 8, begin + thick * len(points) / 2 + 4, part.fit(name, 18), "end"))
        for i, point in enumerate(points):
            end = at(min(max(point.value, low), high))
            place = dict(x=min(zero, end), y=begin + thick * i, width=max(1.0, abs(end - zero)), height=thick - 1.5)
            hover = tag("title", f"{name}, {point.name}: {point.value:.3f}")
            drawn.append(tag("g", hover, part.bar(names.index(point.name), **place)))
        begin += thick * len(points) + 9
    grid = [part.upright(at(t), part.short(t), TOP - 4, begin) for t in ticks]
    grid.append(part.text((left + WIDTH - RIGHT) / 2, begin + 31, label, "middle", "label"))
    below, height = part.legend([(part.bar_sample(i), name) for i, name in enumerate(names)], begin + 36)
    found = [(name, {point.name: f"{point.value:.3f}" for point in points}) for name, points in rows]
    cells = [[name, *(values.get(one, "") for one in names)] for name, values in found]
    describe = f"{label} of {', '.join(name for name, _ in rows)}; {', '.join(names)}."
    return _figure(title, describe, [*grid, *drawn, below], height, table(["", *names], cells, title))


def _figure(title: str, describe: str, drawn: Sequence[Html], height: float, numbers: Html) -> Html:
    head = (tag("title", title), tag("desc", describe))
    picture = tag("svg", *head, *drawn, viewBox=f"0 0 {WIDTH:.0f} {height:.0f}", role="img", aria_label=title)
    more = tag("details", tag("summary", "numbers"), numbers)
    return tag("figure", tag("figcaption", title), picture, more, class_="chart")


def _names(rows: Sequence[tuple[str, Sequence[Point]]]) -> list[str]:
    return list(dict.fromkeys(point.name for _, points in rows for point in points))


def _curve(one: Series, at_x: Place, at_y: Place, band: bool) -> Iterator[Html]:
    points = [(at_x(u), at_y(v), i) for i, (u, v) in enumerate(zip(one.x, one.y))]
    ends = [(at_x(u), at_y(a), at_y(b)) for u, a, b in zip(one.x, one.low, one.high) if math.isfinite(a + b)]
    if band and len(ends) > 1:
        around = [(u, a) for u, a, _ in ends] + [(u, b) for u, _, b in reversed(ends)]
        yield tag("path", d=part.path(around) + "Z", class_="band", style=part.fill(one.look))
    elif not band:
        yield from (part.whisker(one.look, *end) for end in ends)
    if one.joined and len(points) > 1:
        yield part.curve(part.path([point[:2] for point in points]), one.look, one.dash)
    for u, v, i in points if len(points) <= 30 else ():
        hover = tag("title", f"{one.name}, {part.short(one.x[i])}: {_cell(one, i)}")
        yield tag("g", hover, part.mark(one.look, u, v))


def _shown(one: Series, x: Axis, y: Axis) -> Series:
    """The points that both axes have a place for."""
    kept = [i for i, (u, v) in enumerate(zip(one.x, one.y)) if x.shows(u) and y.shows(v)]
    low, high = ([ends[i] for i in kept] if len(ends) else [] for ends in (one.low, one.high))
    return replace(one, x=[one.x[i] for i in kept], y=[one.y[i] for i in kept], low=low, high=high)


def _cell(one: Series, i: int) -> str:
    if not math.isfinite(one.y[i]):
        return "–"
    known = len(one.low) and math.isfinite(one.low[i] + one.high[i])
    return part.short(one.y[i]) + (f" [{part.short(one.low[i])}, {part.short(one.high[i])}]" if known else "")


def _share(point: Point) -> str:
    interval = "" if point.low is None or point.high is None else f" [{100 * point.low:.1f}, {100 * point.high:.1f}]"
    return f"{100 * point.value:.1f}\N{NO-BREAK SPACE}%{interval}"
