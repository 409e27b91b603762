from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest

from worldmodel.benchmarks.chart_parts import Axis, nice, scale, short
from worldmodel.benchmarks.charts import Point, Series, bars, lines, rates
from worldmodel.benchmarks.markup import tag

EVIL = "<script>alert(\"1\")</script> & 'co'"
ALL_MARKS = [Series(name=f"{EVIL} {i}", x=(1, 2), y=(i, i + 1), look=i, dash=i) for i in range(9)]


def parsed(figure: str) -> ET.Element:
    return ET.fromstring(figure)


@pytest.mark.parametrize(
    "figure",
    [
        lines(EVIL, ALL_MARKS, Axis(label=EVIL), Axis(label=EVIL), [(1.0, EVIL)]),
        rates(EVIL, [(EVIL, [Point(name=EVIL, value=0.5, low=0.4, high=0.6), Point(name="other", value=0)])]),
        bars(EVIL, [(EVIL, [Point(name=EVIL, value=0.5), Point(name="other", value=-9)])], EVIL, -0.1, 1.0, 16),
    ],
    ids=["lines", "rates", "bars"],
)
def test_a_chart_is_well_formed_named_and_has_its_numbers_in_a_table(figure: str) -> None:
    root = parsed(figure)
    svg = root.find("svg")
    assert svg is not None and svg.find("title") is not None and svg.find("desc") is not None
    assert svg.findtext("title") == root.findtext("figcaption") == EVIL
    assert not list(root.iter("script"))
    cells = [" ".join(cell.itertext()) for cell in root.iter("td")]
    assert any(cell.startswith(("0", "1", "50.0")) for cell in cells)


def test_every_point_has_its_place_mark_and_interval() -> None:
    one = Series(name="a", x=(0, 10), y=(0, 1), low=(0, 0.5), high=(0.5, 1))
    svg = parsed(lines("t", [one], Axis(label="x", low=0, high=10), Axis(label="y", low=0, high=1))).find("svg")
    marks = [p for p in svg.iter("path") if p.get("class") == "mark" and p.get("transform")]
    places = [tuple(map(float, m.get("transform").split("(")[1].split(")")[0].split())) for m in marks[:2]]
    (left, bottom), (right, top) = places
    assert left < right and bottom > top  # upwards is up
    assert sum(p.get("class") == "whisker" for p in svg.iter("path")) == 2
    assert [g.findtext("title") for g in svg.iter("g")] == ["a, 0: 0 [0, 0.5]", "a, 10: 1 [0.5, 1]"]


def test_a_value_that_is_not_finite_is_left_out() -> None:
    one = Series(name="a", x=(0, 1, 2), y=(0, math.nan, 1))
    figure = lines("t", [one], Axis(label="x"), Axis(label="y"))
    marks = [p for p in parsed(figure).find("svg").iter("g")]
    assert len(marks) == 2
    assert all("nan" not in (element.get("d") or "") for element in parsed(figure).iter("path"))


def test_a_logarithmic_axis_leaves_out_what_it_has_no_place_for() -> None:
    log = Axis(label="y", log=True)
    one = Series(name="a", x=(0, 1, 2), y=(0, 0.1, 1), low=(0, 0, 0.5), high=(0, 0.2, 2))
    root = parsed(lines("t", [one], Axis(label="x"), log, [(0.0, "none"), (1.0, "all")]))
    assert [g.findtext("title") for g in root.find("svg").iter("g")] == ["a, 1: 0.1 [0, 0.2]", "a, 2: 1 [0.5, 2]"]
    assert "0 [0, 0]" in [cell.text for cell in root.iter("td")]
    empty = parsed(lines("t", [Series(name="a", x=(0, 1), y=(0, -1))], Axis(label="x"), log))
    assert not list(empty.find("svg").iter("g"))
    assert "nothing to show on this axis: see the numbers" in [text.text for text in empty.iter("text")]
    assert "-1" in [cell.text for cell in empty.iter("td")]


def test_of_many_bars_the_first_and_the_last_are_drawn_and_the_table_has_all() -> None:
    rows = [(f"n{i}", [Point(name="p", value=i / 40)]) for i in range(40)]
    root = parsed(bars("t", rows, "R²", 0, 1, most=4))
    assert [text.text for text in root.iter("text") if (text.text or "").startswith("n")] == ["n0", "n1", "n38", "n39"]
    assert len(list(root.iter("td"))) == 40


def test_a_bar_beyond_the_axis_ends_at_it_and_the_table_has_its_value() -> None:
    root = parsed(bars("t", [("a", [Point(name="p", value=-7.0)])], "R²", -0.1, 1.0, 16))
    bar = next(rect for rect in root.iter("rect"))
    shown = parsed(bars("t", [("a", [Point(name="p", value=-0.1)])], "R²", -0.1, 1.0, 16))
    assert bar.attrib == next(rect for rect in shown.iter("rect")).attrib
    assert [cell.text for cell in root.iter("td")] == ["-7.000"]


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 0), (-3, 7), (0.013, 0.017), (5, 5), (0, 12345)])
def test_nice_ticks_are_few_and_cover_the_range(low: float, high: float) -> None:
    ticks = nice(low, high)
    assert ticks[0] <= low + 1e-9 and ticks[-1] >= high - 1e-9
    assert 2 <= len(ticks) <= 8


def test_a_logarithmic_axis_places_decades_evenly() -> None:
    at, ticks = scale([0.01, 1], Axis(label="x", log=True), 0, 100)
    assert (at(0.01), at(0.1), at(1)) == pytest.approx((0, 50, 100))
    assert {0.01, 0.1, 1} <= {round(t, 9) for t in ticks}


def test_numbers_are_short() -> None:
    assert [short(x) for x in (0.1 + 0.2, 12345, 0, 2.5, 100)] == ["0.3", "12,345", "0", "2.5", "100"]


def test_markup_escapes_text_and_attributes_and_keeps_markup() -> None:
    inner = tag("b", "a<b")
    assert tag("p", inner, '"x"', None, class_='"&', data_x=True, hidden=False) == (
        '<p class="&quot;&amp;" data-x><b>a&lt;b</b>&quot;x&quot;</p>'
    )
