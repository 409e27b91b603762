"""Plots of measurements: labelled axes with units, intervals, and colours that colour-blind people can tell apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from worldmodel.errors import BadValue
from worldmodel.files import replacing

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000")  # Okabe and Ito
MARKS = "osD^vP*"  # one fewer than colours, so that 56 things look different
ARMS = ("pixels", "latents", "plain", "seeded")  # that learn look the same in every picture


def speed(cases: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Latency of every case, p50 as a point and up to p99 as a line; and plans a second over environments, if several.

    Args:
        cases: as ``planning_speed.measure`` returns them.
        path: where to write; its suffix says PNG or SVG.
    """
    lines: dict[str, list[Mapping[str, Any]]] = {}
    for one in cases:
        lines.setdefault(one["name"].rpartition(" B ")[0], []).append(one)
    several = {name: line for name, line in lines.items() if len(line) > 1}
    figure, axes = _figure(1 + bool(several), height=1.5 + 0.28 * len(cases))
    left = axes[0]
    for row, one in enumerate(cases):
        colour = _style(list(lines).index(one["name"].rpartition(" B ")[0]))["color"]
        left.plot((one["p50_ms"], one["p99_ms"]), (row, row), color=colour, linewidth=2)
        left.plot(one["p50_ms"], row, "o", color=colour, markersize=5)
    left.set(xscale="log", xlabel="one solve: p50 (point) to p99 [ms]")
    left.set_yticks(range(len(cases)), [one["name"] for one in cases])
    left.invert_yaxis()
    if several:
        for number, name in enumerate(lines):
            if name in several:
                x, y = zip(*((one["environments"], one["plans_per_s"]) for one in several[name]))
                axes[1].plot(x, y, markersize=5, label=name, **_style(number))
        axes[1].set(xscale="log", yscale="log", xlabel="environments in one solve", ylabel="plans [1/s]")
        axes[1].set_xticks(sorted({one["environments"] for one in cases}), minor=False)
        axes[1].legend(fontsize=7, frameon=False)
    return _write(figure, path)


def frontier(found: Mapping[str, Any], path: Path) -> Path:
    """Success over latency: a point for each setting with its Wilson interval, a line to the p99, floors dashed.

    Where controllers are compared, which plan more or less often, latency is that of an action, on average.

    Args:
        found: as ``frontier.measure`` returns it.
        path: where to write; its suffix says PNG or SVG.
    """
    figure, (axis,) = _figure(1, height=4.2)
    figure.set_figwidth(8.5)  # with the legend beside it
    several = len({one.get("controller") for one in found["settings"]}) > 1
    for number, one in enumerate(found["settings"]):
        style = _style(number)
        p50, p99 = (one["ms_per_action"],) * 2 if several else (one["p50_ms"], one["p99_ms"])
        rate, low, high = (100 * one[name] for name in ("success", "low", "high"))
        interval = ([rate - low], [high - rate])
        axis.errorbar(p50, rate, interval, markersize=6, capsize=3, label=one["setting"], **style)
        axis.plot((p50, p99), (rate, rate), ":", color=style["color"], linewidth=1)
    for name, label, look in (("random", "random policy", "--"), ("noop", "no-op", "-."), ("replay", "replay", ":")):
        axis.axhline(100 * found[name], color="0.6", linestyle=look, linewidth=1, label=label, zorder=0)
    axis.set(xscale="log", ylim=(-2, 102), ylabel=f"success [%], n = {found['n']}, Wilson 95 %")
    axis.set_xlabel("planning, for one action [ms]" if several else "one plan: p50 (mark) to p99 (dots) [ms]")
    axis.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return _write(figure, path)


def curves(tasks: Mapping[str, Mapping[str, Any]], path: Path) -> Path:
    """Learning curves: mean of the seeds with their range as a band, and what does not learn as a line.

    Args:
        tasks: as ``rl_curves.join`` returns them.
        path: where to write; its suffix says PNG or SVG.
    """
    panels = [
        (task, name, label, scale)
        for task, arms in tasks.items()
        for name, label, scale in (
            ("return", "return, sum of an episode's rewards", 1),
            ("success", "success [%]", 100),
        )
        if any(name in arm.get("curve", ()) for arm in arms.values())
    ]
    if not panels:
        raise BadValue("nothing to draw: no training is there")
    figure, axes = _figure(len(panels), height=4)
    for axis, (task, name, label, scale) in zip(axes, panels):
        looks = iter(("--", "-.", ":"))
        for arm, found in tasks[task].items():
            count = len(found["seeds"])
            seeds = f"{count} seed{'s' * (count > 1)}"
            if "curve" not in found:
                level = scale * found["evaluation"][name]
                axis.axhline(level, color="0.4", linestyle=next(looks), linewidth=1, label=f"{arm}, {seeds}", zorder=0)
                continue
            columns = (found["curve"][column] for column in ("step", name, f"{name}_low", f"{name}_high"))
            points = [point for point in zip(*columns) if None not in point]
            x, mean, low, high = zip(*points) if points else [()] * 4
            style = _style(ARMS.index(arm))
            axis.plot(x, [scale * y for y in mean], markersize=4, label=f"{arm}, {seeds}", **style)
            axis.fill_between(x, [scale * y for y in low], [scale * y for y in high], color=style["color"], alpha=0.2)
        axis.set(title=task, xlabel="environment steps", ylabel=label, xlim=(0, None))
        axis.xaxis.set_major_formatter("{x:,.0f}")
        axis.legend(fontsize=7, frameon=False, title="mean and range of the seeds", title_fontsize=7)
    return _write(figure, path)


def ideas(found: Mapping[str, Any], path: Path) -> Path:
    """What each idea adds to the default, in points, beside what an action takes to plan; at the shortest offset.

    Args:
        found: as ``study_results.join`` returns it.
        path: where to write; its suffix says PNG or SVG.
    """
    near, rows, tasks, names = _nearest(found)
    figure, (left, right) = _figure(2, height=1.6 + 0.3 * len(names))
    for number, task in enumerate(tasks):
        style, lift = _style(number), (number - (len(tasks) - 1) / 2) * 0.6 / len(tasks)
        for one in found["comparisons"]:
            if (one["task"], one["offset"], one["second"]) == (task, near, "wm"):
                mean, low, high = (100 * one[name] for name in ("difference", "low", "high"))
                place = names.index(one["first"]) + lift
                left.errorbar(mean, place, xerr=([mean - low], [high - mean]), markersize=5, capsize=3, **style)
        mine = [row for row in rows if row["task"] == task]
        places = [names.index(row["variant"]) + lift for row in mine]
        right.plot([row["ms_per_action"] for row in mine], places, linestyle="", markersize=5, label=task, **style)
    left.axvline(0, color="0.4", linewidth=1, zorder=0)
    left.set(xlabel=f"success less that of wm, offset {near} [points], 95 %")
    right.set(xscale="log", xlabel="planning, for one environment step [processor ms]")
    for axis in (left, right):
        axis.set_yticks(range(len(names)), names)
        axis.set_ylim(len(names) - 0.4, -0.6)
    right.legend(fontsize=7, frameon=False)
    return _write(figure, path)


def offsets(found: Mapping[str, Any], path: Path) -> Path:
    """Success against the goal's distance, a panel for each task, with 95 % intervals and the random policy's.

    Args:
        found: as ``study_results.join`` returns it.
        path: where to write; its suffix says PNG or SVG.
    """
    rows = found["rows"]
    tasks, names, far = (_distinct(rows, key) for key in ("task", "variant", "offset"))
    figure, axes = _figure(len(tasks), height=4.2)
    for axis, task in zip(axes, tasks):
        for number, name in enumerate(names):
            mine = sorted((r for r in rows if (r["task"], r["variant"]) == (task, name)), key=lambda r: r["offset"])
            x = [row["offset"] + (number - (len(names) - 1) / 2) for row in mine]  # beside each other
            mean, low, high = ([100 * row[key] for row in mine] for key in ("success", "low", "high"))
            ends = ([m - l for m, l in zip(mean, low)], [h - m for m, h in zip(mean, high)])
            axis.errorbar(x, mean, ends, markersize=5, capsize=3, label=name, **_style(number))
        floor = {row["offset"]: 100 * row["random"] for row in rows if row["task"] == task}
        axis.plot(*zip(*sorted(floor.items())), "--", color="0.6", linewidth=1, label="random policy", zorder=0)
        seeds = max(len(row["seeds"]) for row in rows)
        axis.set(title=task, ylim=(-2, 102), xlabel="goal, environment steps ahead")
        axis.set(xticks=far, ylabel=f"success [%], 95 % over pairs, trainings: {seeds}")
        axis.legend(fontsize=7, frameon=False)
    return _write(figure, path)


def latency(found: Mapping[str, Any], path: Path) -> Path:
    """Success over what an action takes to plan, at the shortest offset, a panel for each task.

    Args:
        found: as ``study_results.join`` returns it.
        path: where to write; its suffix says PNG or SVG.
    """
    near, rows, tasks, names = _nearest(found)
    figure, axes = _figure(len(tasks), height=4.2)
    for axis, task in zip(axes, tasks):
        for row in (row for row in rows if row["task"] == task):
            style = _style(names.index(row["variant"]))
            mean, low, high = (100 * row[name] for name in ("success", "low", "high"))
            ends = ([mean - low], [high - mean])
            axis.errorbar(row["ms_per_action"], mean, ends, markersize=6, capsize=3, label=row["variant"], **style)
        axis.set(title=task, xscale="log", ylim=(-2, 102), ylabel=f"success [%], offset {near}, 95 %")
        axis.set_xlabel("planning, for one environment step [processor ms]")
        axis.legend(fontsize=7, frameon=False)
    return _write(figure, path)


def _nearest(found: Mapping[str, Any]) -> tuple[int, list[Mapping[str, Any]], list[str], list[str]]:
    """The shortest offset of a study, and its rows, tasks and variants there."""
    near = min(row["offset"] for row in found["rows"])
    rows = [row for row in found["rows"] if row["offset"] == near]
    return near, rows, _distinct(rows, "task"), _distinct(rows, "variant")


def _distinct(rows: Sequence[Mapping[str, Any]], key: str) -> list[Any]:
    return list(dict.fromkeys(row[key] for row in rows))  # in the study's order


def _style(number: int) -> dict[str, str]:
    return {"color": COLOURS[number % len(COLOURS)], "marker": MARKS[number % len(MARKS)]}


def _figure(columns: int, height: float) -> tuple[Any, Any]:
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(min(6.5 * columns, 16), height), layout="constrained", dpi=150)
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for axis in axes:
        axis.grid(True, color="0.9", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8, which="both")
    return figure, axes


def _write(figure: Any, path: Path) -> Path:
    from matplotlib.ticker import LogFormatter

    for axis in figure.axes:
        for scale in (axis.xaxis, axis.yaxis):
            if scale.get_scale() == "log":
                scale.set_major_formatter("{x:g}")
                scale.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.5)))
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix.removeprefix("."))
    return path
