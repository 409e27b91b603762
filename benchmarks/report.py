"""The numbers of an evaluation, as one table to read and as plain values for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from worldmodel.benchmarks.evaluate import Outcome
from worldmodel.benchmarks.intervals import bootstrap_clusters, wilson
from worldmodel.benchmarks.pairs import Pairs
from worldmodel.benchmarks.protocols import Protocol

FEWEST_EPISODES = 5  # of which drawing again says something


@dataclass(frozen=True, kw_only=True)
class Planning:
    """How the plans were made."""

    predictor: str
    controller: str  # who acts: search, reflex or both
    max_prefix: int  # longest prefix the predictor was trained on
    action_block: int  # F, environment steps in a model step
    horizon: int  # H, model steps
    execute_steps: int  # R, model steps
    reads: tuple[int, ...]  # model steps at which the first plan's outcome was predicted
    planner: str
    search: Mapping[str, Any]  # its settings: candidates, iterations ...
    agent: Mapping[str, Any]  # the agent's: what makes a plan good, warm start, precision ...
    told: tuple[str, ...]  # options that have no line of their own, as they were typed
    deadline_ms: float | None  # milliseconds allowed for a plan
    plans: int
    reflexes: int  # of them, those of the reflex alone
    ms_per_plan: float  # mean over all plans, several environments planned together
    ms_one_plan: float  # median, one environment planned alone
    cpu_ms_one_plan: float  # of the processor, for the same
    iterations_done: float  # mean over the solves

    @property
    def jumps(self) -> int:
        """Predictions composed one after another to reach the last latent that was read."""
        return -(-max(self.reads) // self.max_prefix)


def proportion(success: np.ndarray) -> dict[str, Any]:
    """``success`` (a rate, None when n is 0), ``n`` and the Wilson 95 % interval of booleans (n,)."""
    count, n = int(success.sum()), len(success)
    low, high = wilson(count, n)
    return {"success": count / n if n else None, "n": n, "low": low, "high": high}


def by_episode(values: np.ndarray, episode: np.ndarray) -> dict[str, float] | None:
    """Bootstrap 95 % interval of the mean of values (n,) when whole episodes are drawn: ``low`` and ``high``.

    None where drawing again says nothing: of fewer than 5 episodes, where a few drawings are all there are and the
    interval is far too narrow, and where every drawing gives the same mean, as at 0 and 100 %, where it would be a
    point, as if no other rate were possible.

    Args:
        values: of each pair.
        episode: (n,) that each pair comes from.
    """
    if len(np.unique(episode)) < FEWEST_EPISODES:
        return None
    low, high = bootstrap_clusters(values, episode)
    return {"low": low, "high": high} if low < high else None


def as_dict(
    protocol: Protocol,
    pairs: Pairs,
    budget: int,
    policy: Outcome,
    baselines: Mapping[str, Outcome],
    planning: Planning,
) -> dict[str, Any]:
    """Gather everything measured; ``baselines`` are ``random``, ``noop``, ``replay`` ... on the same pairs.

    ``by_episode`` is missing where the function of that name gives None.
    """
    resampled = by_episode(policy.success, pairs.episode)
    meaning = "accomplished after the last step" if pairs.strict else "predicate true after any step within the budget"
    drawn = "official goals in turn" if pairs.offset is None else "uniform over rows without replacement"
    return {
        **proportion(policy.success),
        **({"by_episode": resampled} if resampled else {}),
        **{name: outcome.rate for name, outcome in baselines.items()},
        **{
            kind: {
                "label": label,
                **proportion(policy.success[rows]),
                **{name: proportion(outcome.success[rows])["success"] for name, outcome in baselines.items()},
            }
            for kind, label, rows in (
                ("hard", pairs.hard_label, pairs.hard),
                ("easy", f"not: {pairs.hard_label}", ~pairs.hard),
            )
        },
        "solved_at_start": pairs.solved_at_start,
        "out_of_view": pairs.out_of_view,
        "variation": pairs.variation,
        "mean_steps_to_success": float(policy.steps[policy.success].mean()) if policy.success.any() else None,
        "offset": pairs.offset,
        "budget": budget,
        "episodes": len(pairs),
        "from_episodes": len(np.unique(pairs.episode)),
        "seed": protocol.seed,
        "protocol": {
            **asdict(protocol),
            "shown": str(protocol),
            "drawn": f"{drawn}, solved-at-start and out-of-view ones left out",
            "success": meaning,
            "interval": "Wilson 95 %; by_episode: bootstrap 95 % over episodes",
        },
        "manifest": {"sha256": pairs.sha256, "dataset": pairs.dataset},
        **asdict(planning),
        "horizon_env_steps": planning.horizon * planning.action_block,
        "jumps": planning.jumps,
    }


def rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The table of a report: one line for each thing to know."""
    hard, offset, split = report["hard"], report["offset"], report["protocol"]["split"]
    varied = [("variation", f"{report['variation']}, drawn for each pair")] if report["variation"] else []
    left_out = f"left out: {report['solved_at_start']} solved at the start, {report['out_of_view']} out of view"
    source = "official tasks" if offset is None else f"{split} episodes"
    goal = "official goals" if offset is None else f"goal {offset} steps away"
    strict = ", kept to the end" if report["protocol"]["strict"] else ""
    return [
        ("task", f"{report['env']}, {goal}{strict}, budget {report['budget']}"),
        ("protocol", f"{report['protocol']['shown']}, manifest {report['manifest']['sha256'][:12]}"),
        ("pairs", f"{report['n']} from {report['from_episodes']} {source}; {left_out}"),
        *varied,
        ("success", _rate(report)),
        *_resampled(report),
        (f"  {hard['label']}", _rate(hard)),
        *_baseline(report, "random", "random policy"),
        *_baseline(report, "noop", "no-op policy"),
        *_baseline(report, "replay", "action replay", ", in another world" if varied else ", the ceiling"),
        *_simulated(report),
        *planning_rows(report),
    ]


def _resampled(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = report.get("by_episode")
    return (
        [("  by episode", f"{'':7}  [{100 * found['low']:.1f}, {100 * found['high']:.1f}]  bootstrap")] if found else []
    )


def _simulated(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = report.get("simulator")
    if not found:
        return []
    search = f"{found['candidates']} candidates x {found['iterations']} iterations"
    ahead = f"{found['horizon_env_steps']} environment steps ahead, {found['execute_env_steps']} executed"
    p = f"McNemar p {found['mcnemar_p_pairs_independent']:.2g}, pairs taken as independent"
    return [
        ("CEM on the simulator", f"{_rate(found)}, {search}, {ahead}"),
        ("  the model on these", f"{_rate(found['policy'])}, {p}"),
    ]


def acting(report: Mapping[str, Any]) -> str:
    """Who acted in an evaluation: a search by a predictor, the reflex, or both."""
    controller, predictor = report.get("controller", "search"), f"{report['predictor']} predictor"
    return {"search": predictor, "reflex": "reflex", "both": f"reflex and {predictor}"}[controller]


def planning_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The part of the table that says how the plans were made."""
    again = report["execute_steps"] * report["action_block"]
    ways = {"search": "search", "reflex": "reflex, no search", "both": "both: a search from the reflex's plan"}
    acts = [("controller", f"{ways[report.get('controller', 'search')]}; again after {again} environment steps")]
    times = (
        "ms per plan",
        f"{report['ms_per_plan']:.1f} ({report['plans']} plans; one alone {report['ms_one_plan']:.1f})",
    )
    if report.get("controller") == "reflex":
        return [*acts, times]
    if report.get("reflexes"):
        acts.append(("  reflex alone", f"{report['reflexes']} plans: the goal beyond the horizon, or no time"))
    H, jumps = report["horizon"], report["jumps"]
    composed = "one jump" if jumps == 1 else f"{jumps} jumps composed"
    reads = f", judged at {', '.join(map(str, report['reads']))}" if report["reads"] != (H,) else ""
    settings = ", ".join(f"{name} {value:g}" for name, value in report["search"].items())
    allowed = f", at most {report['deadline_ms']:g} ms a plan" if report["deadline_ms"] else ""
    return [
        *acts,
        ("predictor", report["predictor"]),
        ("horizon", f"{H} model steps = {report['horizon_env_steps']} environment steps, {composed}{reads}"),
        ("planner", f"{report['planner']}: {settings}{allowed}"),
        *([("told", " ".join(report["told"]))] if report["told"] else []),
        times,
    ]


def _rate(part: Mapping[str, Any]) -> str:
    if not part["n"]:
        return "no such pair"
    low, high = 100 * part["low"], 100 * part["high"]
    return f"{_percent(part['success'])}  [{low:.1f}, {high:.1f}]  n = {part['n']}"


def _baseline(report: Mapping[str, Any], name: str, label: str, end: str = "") -> list[tuple[str, str]]:
    if name not in report:
        return []
    hard = report["hard"][name]
    return [
        (label, _percent(report[name]) + ("" if hard is None else f"  ({_percent(hard).strip()} of the hard)") + end)
    ]


def _percent(share: float) -> str:
    return f"{100 * share:5.1f} %"
