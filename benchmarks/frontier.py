"""Success against latency: settings of planning on the same held-out pairs, on one machine, with one timing rule.

The rule: every plan is made for one environment alone and takes the wall clock from the pictures to the first action,
encoding and search; p50 and p99 are of all plans of the evaluation (of fewer than 100 the p99 is the slowest). So a
deadline means what it says. Settings take turns, ten pairs at a time, so that a disturbance meets all of them; each has
played its first pair once before, unseen, for what is allocated or recorded once.

Each setting is compared with the first one by the pairs that only one of the two solved (McNemar's exact test).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from worldmodel.benchmarks.evaluate import evaluate, floors_and_ceiling
from worldmodel.benchmarks.intervals import mcnemar
from worldmodel.benchmarks.pairs import Pairs
from worldmodel.benchmarks.report import proportion
from worldmodel.benchmarks.settings import Setting
from worldmodel.planners.agent import Agent
from worldmodel.planners.stats import Stats

TURN = 10  # pairs


@dataclass
class Played:
    """What an agent did so far."""

    setting: Setting
    agent: Agent
    success: list[bool] = field(default_factory=list)


def measure(
    played: Sequence[Played],
    env: str,
    pairs: Pairs,
    budget: int,
    seed: int,
    progress: Callable[[int], object],
    **look: Any,
) -> dict[str, Any]:
    """Play all pairs with every setting in turns, and the floors.

    Args:
        played: settings with their agents, none of which has played.
        env: name of the task.
        pairs: starts and goals.
        budget: environment steps allowed.
        seed: of the random policy.
        progress: called with environment steps; (settings + 3) * pairs * budget in all.
        look: further arguments of the task.
    """
    n = len(pairs)
    size = played[0].agent.model.config.image_size
    for one in played:
        evaluate(one.agent, env, pairs, budget, size, together=1, only=range(1), **look)
        one.agent.stats = Stats(milliseconds=deque(), rows=deque(), solves=deque())  # of all plans, not the last
    for first in range(0, n, TURN):
        some = range(first, min(first + TURN, n))
        for one in played:
            outcome = evaluate(one.agent, env, pairs, budget, size, 0, 1, progress, some, **look)
            one.success += outcome.success.tolist()
    floors = floors_and_ceiling(env, pairs, budget, seed, progress)
    return {
        "env": env,
        "n": n,
        "offset": pairs.offset,
        "budget": budget,
        "split": pairs.split,
        "solved_at_start": pairs.solved_at_start,
        "out_of_view": pairs.out_of_view,
        "hard_label": pairs.hard_label,
        **{name: outcome.rate for name, outcome in floors.items()},
        "settings": [summary(one, np.array(played[0].success), pairs) for one in played],
    }


def summary(one: Played, reference: np.ndarray, pairs: Pairs) -> dict[str, Any]:
    """The numbers of one setting; ``reference`` (n,) is what the first one solved."""
    success, agent, stats = np.array(one.success), one.agent, one.agent.stats
    taken = np.array(stats.milliseconds)
    p50, p99 = np.quantile(taken, (0.5, 0.99), method="inverted_cdf")
    deadline = agent.config.deadline_ms
    gained, lost = int((success & ~reference).sum()), int((reference & ~success).sum())
    return {
        "setting": one.setting.line,
        "options": dict(one.setting.options),
        "controller": agent.controller,
        **proportion(success),
        "hard": proportion(success[pairs.hard]),
        "against_first": {"gained": gained, "lost": lost, "p": mcnemar(gained, lost)},
        "plans": stats.plans,
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "mean_ms": float(taken.mean()),
        "ms_per_action": float(taken.mean()) / (agent.execute_steps * agent.model.config.action_block),
        "slowest_ms": float(taken.max()),
        "search_ms": float(np.median([solve.milliseconds for solve in stats.solves])),
        "reflexes": stats.reflexes,
        "iterations": float(np.mean([solve.iterations for solve in stats.solves])),
        "late": None if deadline is None else float((taken > deadline).mean()),
    }


def rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The table: one line for each setting, then the floors and the ceiling."""
    head = ("setting", "success %", "Wilson 95 %", "of the hard %", "gained", "lost", "p")
    table = [(*head, "p50 ms", "p99 ms", "ms an action", "plans", "iterations", "late")]
    for i, one in enumerate(found["settings"]):
        against, hard = one["against_first"], one["hard"]["success"]
        table.append(
            (
                one["setting"],
                f"{100 * one['success']:.1f}",
                f"[{100 * one['low']:.1f}, {100 * one['high']:.1f}]",
                "-" if hard is None else f"{100 * hard:.1f}",
                *(
                    ("-", "-", "-")
                    if i == 0
                    else (f"+{against['gained']}", f"-{against['lost']}", f"{against['p']:.2g}")
                ),
                f"{one['p50_ms']:.1f}",
                f"{one['p99_ms']:.1f}",
                f"{one['ms_per_action']:.2f}",
                str(one["plans"]),
                f"{one['iterations']:.1f}",
                "-" if one["late"] is None else f"{one['late']:.1%}",
            )
        )
    floors = (("random", "random policy"), ("noop", "no-op policy"), ("replay", "action replay, the ceiling"))
    return [*table, *((label, f"{100 * found[name]:.1f}") for name, label in floors)]
