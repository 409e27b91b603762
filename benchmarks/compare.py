"""Two evaluations of the same start and goal pairs, side by side: sharper than two intervals, as both saw the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from worldmodel.benchmarks.intervals import bootstrap_mean, mcnemar, sign_flips
from worldmodel.benchmarks.record import Record
from worldmodel.benchmarks.report import by_episode, proportion
from worldmodel.errors import BadValue


def paired(first: np.ndarray, second: np.ndarray, episode: np.ndarray) -> dict[str, Any]:
    """Compare who succeeded, (n,) booleans of the same pairs.

    ``difference`` is the first rate minus the second, with paired bootstrap 95 % intervals: of pairs drawn with
    replacement, and ``by_episode`` of whole episodes, whose pairs may have more in common (None where that says
    nothing: `report.by_episode`). ``mcnemar_p_pairs_independent`` is McNemar's exact p-value, from the pairs that just
    one of the two solved, as if no two of them had anything in common; ``sign_flip_p_by_episode`` is that of the
    randomisation test which exchanges the results of whole episodes (`intervals.sign_flips`).

    Args:
        first: of one evaluation.
        second: of the other.
        episode: (n,) that each pair comes from.
    """
    ahead = first.astype(float) - second.astype(float)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    counts = {"both": int((first & second).sum()), "only_first": only_first, "only_second": only_second}
    n = len(first)
    return {
        "n": n,
        "first": proportion(first),
        "second": proportion(second),
        "difference": float(ahead.mean()) if n else None,
        **(dict(zip(("low", "high"), bootstrap_mean(ahead))) if n else {"low": None, "high": None}),
        "by_episode": by_episode(ahead, episode),
        **counts,
        "neither": n - sum(counts.values()),
        "mcnemar_p_pairs_independent": mcnemar(only_first, only_second),
        "sign_flip_p_by_episode": sign_flips(ahead, episode),
    }


def compare(first: Record, second: Record) -> dict[str, Any]:
    """Compare two evaluations: of all pairs, of the hard and of the easy ones.

    Raises:
        BadValue: they are not of the same pairs, or did not allow the same number of steps.
    """
    one, two = first.pairs, second.pairs
    if one.sha256 != two.sha256:
        raise BadValue(
            f"pairs: expected the same start and goal pairs, got {_pairs(first)} and {_pairs(second)}; run the second "
            "with wm-plan --pairs and the folder of the first"
        )
    budgets = [record.outcome.actions.shape[1] for record in (first, second)]
    if budgets[0] != budgets[1]:
        raise BadValue(f"budget: expected the same number of environment steps, got {budgets[0]} and {budgets[1]}")
    won = first.outcome.success, second.outcome.success
    kinds = {"all": np.ones(len(one), bool), "hard": one.hard, "easy": ~one.hard}
    return {
        "env": one.env,
        "manifest": {"sha256": one.sha256},
        "offset": one.offset,
        "budget": budgets[0],
        "strict": one.strict,
        "hard_label": one.hard_label,
        "first": about(first.values),
        "second": about(second.values),
        **{kind: paired(won[0][rows], won[1][rows], one.episode[rows]) for kind, rows in kinds.items()},
    }


def about(values: Mapping[str, Any]) -> dict[str, Any]:
    """What tells one evaluation from another."""
    told = (
        "model", "predictor", "controller", "planner", "search", "horizon", "execute_steps", "ms_per_plan", "protocol",
        "command",
    )  # fmt: skip
    return {name: values.get(name) for name in told} | {"controller": values.get("controller", "search")}


def rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The table: one line for each kind of pairs."""
    head = ("pairs", "n", "A %", "Wilson 95 %", "B %", "Wilson 95 %", "A - B", "paired 95 %", "by episode 95 %")
    tests = ("McNemar p (pairs taken as independent)", "sign-flip p (by episode)")
    table: list[tuple[str, ...]] = [(*head, "both", "only A", "only B", "neither", *tests)]
    for kind, name in (("all", "all"), ("hard", found["hard_label"]), ("easy", f"not: {found['hard_label']}")):
        one = found[kind]
        if not one["n"]:
            table.append((name, "0"))
            continue
        table.append(
            (
                name,
                str(one["n"]),
                *_rate(one["first"]),
                *_rate(one["second"]),
                f"{100 * one['difference']:+.1f}",
                _interval(one, "+.1f"),
                _interval(one["by_episode"], "+.1f") if one["by_episode"] else "-",
                *(str(one[count]) for count in ("both", "only_first", "only_second", "neither")),
                f"{one['mcnemar_p_pairs_independent']:.2g}",
                f"{one['sign_flip_p_by_episode']:.2g}",
            )
        )
    return table


def _rate(part: Mapping[str, Any]) -> tuple[str, str]:
    return f"{100 * part['success']:.1f}", _interval(part, ".1f")


def _interval(part: Mapping[str, Any], form: str) -> str:
    return f"[{100 * part['low']:{form}}, {100 * part['high']:{form}}]"


def _pairs(record: Record) -> str:
    pairs = record.pairs
    return f"{len(pairs)} of {pairs.env} ({pairs.sha256[:12]})"
