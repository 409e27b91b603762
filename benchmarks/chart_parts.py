"""What charts are made of: scales with their ticks, lines, marks, bars, a legend and text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from worldmodel.benchmarks.markup import Html, join, tag

WIDTH, LEFT, RIGHT, TOP, HEIGHT = 360.0, 50.0, 10.0, 10.0, 170.0  # of a chart, its margins, and what is between
DASHES = (None, "7 3", "2 3", "9 3 2 3")
COLOURS, MARKS = 8, "osD^vx+"
SHAPES = {  # of marks, within -1 and 1
    "o": "M-1 0a1 1 0 1 0 2 0a1 1 0 1 0-2 0Z",
    "s": "M-.9-.9h1.8v1.8h-1.8Z",
    "D": "M0-1.25l1.25 1.25l-1.25 1.25l-1.25-1.25Z",
    "^": "M0-1.2l1.2 2.1h-2.4Z",
    "v": "M0 1.2l1.2-2.1h-2.4Z",
    "x": "M-1-1l2 2m0-2l-2 2",
    "+": "M-1.2 0h2.4M0-1.2v2.4",
}
Place = Callable[[float], float]  # of a value on the picture
Sample = Callable[[float, float], Html]  # what a legend shows, at a place


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What an axis measures, with its unit."""

    label: str
    log: bool = False
    ticks: Sequence[float] = ()  # where they are not to be found out
    second: float | None = None  # a second line of numbers: this many times the first
    low: float | None = None  # ends, where they are not to be found out
    high: float | None = None

    def shows(self, value: float) -> bool:
        """Whether it has a place for a value."""
        return math.isfinite(value) and (value > 0 or not self.log)


# Scales


def scale(values: Sequence[float], axis: Axis, begin: float, end: float) -> tuple[Place, list[float]]:
    """Return what places a value between ``begin`` and ``end``, and the ticks.

    A logarithmic axis has no place for values that are not positive; ends of intervals there are put at its beginning.
    """
    values = [v for v in values if axis.shows(v)]
    low = axis.low if axis.low is not None else min(values, default=0.0)
    high = axis.high if axis.high is not None else max(values, default=1.0)
    if axis.log:
        low, high = (low, high) if values else (0.5, 2.0)
        if high / low < 4:  # so that there are two ticks to read by
            low, high = low / 2, high * 2
        first, last = math.log(low), math.log(high)

        def place(v: float) -> float:
            return begin + (math.log(v) - first) / (last - first) * (end - begin) if v > 0 else begin

        return place, _decades(low, high)
    ticks = list(axis.ticks) or nice(low, high)
    if not axis.ticks:
        low = min(low, ticks[0]) if axis.low is None else low
        high = max(high, ticks[-1]) if axis.high is None else high
    span, slack = (high - low) or 1.0, 1e-9 * abs(high - low)
    return lambda v: begin + (v - low) / span * (end - begin), [t for t in ticks if low - slack <= t <= high + slack]


def nice(low: float, high: float) -> list[float]:
    """Round numbers from at most ``low`` to at least ``high``, about five of them."""
    rough = (high - low or abs(high) or 1.0) / 5
    base = 10.0 ** math.floor(math.log10(rough))
    step = next(base * m for m in (1, 2, 2.5, 5, 10) if base * m >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, max(last, first + 1) + 1)]


def _decades(low: float, high: float) -> list[float]:
    steps = (1, 2, 5) if math.log10(high / low) < 2.5 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [m * 10.0**power for power in powers for m in steps if low <= m * 10.0**power <= high]


# Axes


def grid(ticks: Sequence[float], at: Place) -> Html:
    """Lines across at the ticks, with their numbers to the left."""
    rules = (tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=at(t), y2=at(t), class_="grid") for t in ticks)
    return join((*rules, *(text(LEFT - 6, at(t) + 4, short(t), "end") for t in ticks)))


def upright(x: float, name: str, top: float, bottom: float) -> Html:
    """A line upwards, and what stands below it."""
    return join((tag("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid"), text(x, bottom + 15, name, "middle")))


def below(axis: Axis, ticks: Sequence[float], at: Place) -> Iterator[Html]:
    """The axis across, its ticks as far as there is room for them, and its label."""
    base, previous = TOP + HEIGHT, -math.inf
    yield tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=base, y2=base, class_="axis")
    for t in ticks:
        yield tag("line", x1=at(t), x2=at(t), y1=base, y2=base + 4, class_="axis")
        if at(t) - previous < 27:
            continue
        previous = at(t)
        yield text(at(t), base + 17, short(t), "middle")
        if axis.second:
            yield text(at(t), base + 31, short(t * axis.second), "middle", "second")
    yield text((LEFT + WIDTH - RIGHT) / 2, base + (48 if axis.second else 34), axis.label, "middle", "label")


def left_label(label: str) -> Html:
    """The label of the axis upwards."""
    y = TOP + HEIGHT / 2
    return tag("text", label, x=10, y=y, text_anchor="middle", class_="label", transform=f"rotate(-90 10 {y:.0f})")


# Marks


def path(points: Sequence[tuple[float, ...]]) -> str:
    """Straight lines from point to point."""
    return "M" + "L".join(f"{u:.1f} {v:.1f}" for u, v in points)


def curve(d: str, look: int, dash: int) -> Html:
    """A line of a series."""
    return tag("path", d=d, class_="curve", stroke_dasharray=DASHES[dash % len(DASHES)], style=ink(look))


def level(y: float, number: int) -> Html:
    """A line across to compare with."""
    return tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="level", stroke_dasharray=DASHES[2 - number % 2])


def interval(look: int, y: float, low: float | None = None, high: float | None = None) -> Html | None:
    """A thick line along a row, if there is an interval."""
    return None if low is None else tag("line", x1=low, x2=high, y1=y, y2=y, class_="interval", style=ink(look))


def whisker(look: int, x: float, low: float, high: float) -> Html:
    """An interval at a point."""
    d = f"M{x:.1f} {low:.1f}V{high:.1f}M{x - 3:.1f} {low:.1f}h6M{x - 3:.1f} {high:.1f}h6"
    return tag("path", d=d, class_="whisker", style=ink(look))


def mark(look: int, x: float, y: float, r: float = 4.0) -> Html:
    """The mark of a series, whose shape tells it apart as its colour does."""
    kind = MARKS[look % len(MARKS)]
    there, style = f"translate({x:.1f} {y:.1f}) scale({r})", (ink if kind in "x+" else fill)(look)
    return tag("path", d=SHAPES[kind], transform=there, class_="stroke" if kind in "x+" else "mark", style=style)


def bar(look: int, **place: float) -> Html:
    """A bar: the first of a group solid, the others lighter or hollow, so that they differ without colour."""
    shade = ("1", "0.4", "0.05")[look % 3]
    return tag("rect", **place, class_="bar", style=f"{fill(look)};{ink(look)}", fill_opacity=shade)


# Legend


def sample(look: int, dash: int, joined: bool) -> Sample:
    """A series as it looks."""
    return lambda x, y: join((curve(f"M{x:.1f} {y:.1f}h22", look, dash) if joined else None, mark(look, x + 11, y)))


def level_sample(number: int) -> Sample:
    """A line to compare with, as it looks."""
    dash = DASHES[2 - number % 2]
    return lambda x, y: tag("path", d=f"M{x:.1f} {y:.1f}h22", class_="level", stroke_dasharray=dash)


def bar_sample(look: int) -> Sample:
    """A bar as it looks."""
    return lambda x, y: bar(look, x=x, y=y - 4.5, width=22.0, height=9.0)


def legend(keys: Sequence[tuple[Sample, str]], top: float) -> tuple[Html, float]:
    """Return the legend below ``top``, in as many columns as its texts leave room for, and where it ends."""
    longest = max(len(name) for _, name in keys)
    columns = max(1, min(len(keys), 4, int((WIDTH - 8) / (34 + 6 * min(longest, 48)))))
    wide, drawn = (WIDTH - 8) / columns, []
    for i, (draw, name) in enumerate(keys):
        x, y = 6 + wide * (i % columns), top + 12 + 17 * (i // columns)
        drawn += [draw(x, y), text(x + 29, y + 4, fit(name, 48), "start")]
    return join(drawn), top + 17 * math.ceil(len(keys) / columns) + 10


# Text and ink


def text(x: float, y: float, words: str, anchor: str, kind: str | None = None) -> Html:
    """Words that begin (``start``), end (``end``) or are centred (``middle``) at a place."""
    return tag("text", words, x=x, y=y, text_anchor=anchor, class_=kind)


def ink(look: int) -> str:
    """The colour of lines, as a style."""
    return f"stroke:var(--c{look % COLOURS})"


def fill(look: int) -> str:
    """The colour of areas, as a style."""
    return f"fill:var(--c{look % COLOURS})"


def fit(words: str, most: int) -> str:
    """Words cut to so many letters, in the middle: names differ at their ends."""
    end = (most - 1) // 2
    return words if len(words) <= most else f"{words[: most - 1 - end]}…{words[-end:]}"


def short(value: float) -> str:
    """A number as one reads it on an axis."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{round(value, 10):.3g}"
