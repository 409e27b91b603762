"""What the study found as a page of Markdown, ready for ``benchmarks/results/README.md``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from worldmodel.benchmarks.study_variants import BASELINES, DEFAULT, Variant

AGAINST = (*BASELINES, DEFAULT)


def markdown(found: Mapping[str, Any], variants: Sequence[Variant]) -> str:
    """A table of each task and offset, the means over tasks, and what the ideas are.

    Args:
        found: as ``study_results.join`` returns it.
        variants: that were compared.
    """
    lines: list[str] = []
    compared = {(c["task"], c["offset"], c["first"], c["second"]): c for c in found["comparisons"]}
    against = [f"less {name}, points, 95 %, p" for name in AGAINST]
    head = ["idea", "success, 95 %", "each seed", *against, "steps", "frames", "training, CPU min", "CPU ms/action"]
    for task, offset in dict.fromkeys((row["task"], row["offset"]) for row in found["rows"]):
        mine = [row for row in found["rows"] if (row["task"], row["offset"]) == (task, offset)]
        body = [
            [
                row["variant"],
                rate(row),
                " ".join(f"{100 * success:.1f}" for success in row["seeds"].values()),
                *(versus(compared.get((task, offset, row["variant"], other))) for other in AGAINST),
                f"{row['steps']:,.0f}",
                f"{row['frames']:,.0f}",
                "-" if row["training_cpu_s"] is None else f"{row['training_cpu_s'] / 60:.1f}",
                f"{row['ms_per_action']:.1f}",
            ]
            for row in mine
        ]
        lines += [f"{task}, offset {offset}, {floors(mine[0])}:", "", *table([head, *body])]
    machines = {str(cell["hardware"]) for cell in found["cells"]}
    if len(machines) > 1:
        lines += [f"Processor times are of {len(machines)} machines: of ideas judged apart they do not compare.", ""]
    if found["macro"]:
        means = [
            [m["variant"], str(m["offset"]), str(m["tasks"]), f"{100 * m['success']:.1f} %"] for m in found["macro"]
        ]
        lines += table([["idea", "offset", "tasks", "mean success"], *means])
    flags = [[v.name, v.idea, *(f"`{told}`" if told else "-" for told in (v.train, v.plan))] for v in variants]
    return "\n".join([*lines, *table([["idea", "what it is", "wm-train", "wm-plan"], *flags])])


def floors(row: Mapping[str, Any]) -> str:
    """What everybody is judged by."""
    named = {"random": "random", "noop": "no-op", "replay": "replay"}
    told = ", ".join(f"{label} {100 * row[name]:.1f} %" for name, label in named.items())
    left = f"{row['solved_at_start']} solved at the start left out"
    return f"n = {row['n']} pairs, manifest {row['manifest'][:12]} ({told}; {left})"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table, with an empty one behind."""
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return [head, "|" + "---|" * len(rows[0]), *body, ""]


def rate(row: Mapping[str, Any]) -> str:
    """A success rate in percent."""
    return f"{100 * row['success']:.1f} % [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"


def versus(found: Mapping[str, Any] | None) -> str:
    """A difference in points; a dash where there is none."""
    if found is None:
        return "-"
    return f"{100 * found['difference']:+.1f} [{100 * found['low']:+.1f}, {100 * found['high']:+.1f}], {found['p']:.2g}"
