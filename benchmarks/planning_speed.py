"""Time of one solve, plans a second, memory and the roofline, over planners, predictors, horizons and environments.

A solve is the whole search from encoded pictures: the encoder's time stands beside it. All cases take turns, round by
round; of the rounds' medians the median counts. p50 and p99 are of all solves of a case, by the wall clock (of fewer
than 100 the p99 is the slowest). Ratios are taken within a round, of the time of a plan: in CPU-seconds on a processor,
which move less than seconds when others use the machine too, in seconds on an accelerator. Memory is what a solve holds
beyond the models. Operations are those of the matrix products of a solve; the ceiling is that of a large product in the
same run and the same numbers. Weights are random unless a model is given: time does not depend on them.

Beside stable-worldmodel both sides search in the same way (N, I, K, white noise, one frame of context, no early stop)
from encoded pictures; ``planning_speed_peer.py`` says how. Before anything is timed both must predict the same latents
and costs for the same plans.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from worldmodel.benchmarks import loading
from worldmodel.benchmarks.clocks import ceiling, count, extra, times
from worldmodel.benchmarks.planning_cases import Case, Ratio, names
from worldmodel.benchmarks.planning_solver import Solver
from worldmodel.errors import BadValue
from worldmodel.interfaces import Plan
from worldmodel.plain import to_dict
from worldmodel.published import write_published

Found = dict[str, Any]
Samples = Sequence[tuple[float, float]]  # wall and CPU seconds
SAME = 1e-3  # largest difference between the sides, over the largest number


def measure(
    cases: Sequence[Case], ratios: Sequence[Ratio], told: Mapping[str, Any], step: Callable[[], object]
) -> Found:
    """Time all cases in turns.

    Args:
        cases: what to solve.
        ratios: which two to compare.
        told: ``device``, ``threads``, ``seconds``, ``least``, ``rounds``, and ``peer``, an interpreter.
        step: called after every case of every round.
    """
    device = torch.device(told["device"])
    solvers = {i: Solver(case, device) for i, case in enumerate(cases) if not case.peer}
    theirs = [i for i, case in enumerate(cases) if case.peer]
    found: list[Found] = [{"name": name, **asdict(case)} for name, case in zip(names(cases), cases)]
    rounds: list[list[Samples]] = []
    about: Found = {}
    for turn in range(told["rounds"]):
        samples: list[Samples] = [[] for _ in cases]
        if theirs:
            ours = next(solver for solver in solvers.values() if solver.case.model == cases[theirs[0]].model)
            answer = beside([cases[i] for i in theirs], ours, {**told, "count": turn == 0})
            about |= {name: answer[name] for name in ("peer_versions", "differs_by")}
            for i, one in zip(theirs, answer["cases"]):
                samples[i] = one.pop("times")
                found[i] |= one if turn == 0 else {}
                step()
        for i, solve in solvers.items():
            if turn == 0:
                plans: list[Plan] = []
                found[i]["flops"] = count(solve.counted)
                found[i]["peak_mb"] = extra(lambda: plans.append(solve()), told["device"])  # noqa: B023
                found[i] |= {"iterations": plans[0].stats.iterations, "bf16": solve.agent.bf16}
                if cases[i].environments == 1:
                    found[i]["encode_ms"] = 1000 * median(w for w, _ in times(solve.encode, 0.2, told["device"]))
            samples[i] = times(solve, told["seconds"], told["device"], told["least"])
            step()
        rounds.append(samples)
    tops = {bf16: ceiling({**told, "bf16": bf16}) for bf16 in {one.get("bf16", False) for one in found}}
    for i, one in enumerate(found):
        one |= summary([samples[i] for samples in rounds], cases[i].environments, one, tops, told["device"])
    compared = [compare(ratio, rounds, cases, told["device"]) for ratio in ratios]
    return {"cases": found, "ratios": compared, **about}


def beside(cases: Sequence[Case], ours: Solver, told: Mapping[str, Any]) -> Found:
    """Times of the peer's cases, after a comparison of what both sides predict.

    Args:
        cases: theirs.
        ours: a solver with the model whose weights they load.
        told: what ``measure`` was, and whether to ``count``.

    Raises:
        BadValue: latents or costs differ.
        BadFile: the other environment cannot do it; the last line it said.
    """
    model, agent, B = ours.agent.model, ours.agent, max(case.environments for case in cases)
    plans = torch.randn(1, 16, *ours.start.shape[1:], generator=torch.Generator(ours.device).manual_seed(1))
    with tempfile.TemporaryDirectory(prefix="worldmodel-speed-") as temporary, torch.no_grad():
        folder = Path(temporary)
        write_published(folder / "weights.pt", model)
        z, goal = ours.context.z, ours.goal[:, None]
        torch.save({"z": z.expand(B, -1, -1), "goal": goal.expand(B, -1, -1), "plans": plans}, folder / "inputs.pt")
        chosen = [{"environments": case.environments, **case.setting.options} for case in cases]
        given = {**told, "folder": temporary, "config": to_dict(model.config), "cases": chosen}
        answer = loading.feed(str(told["peer"]), Path(__file__).with_name("planning_speed_peer.py"), given)
        theirs = torch.load(folder / "from-theirs.pt", weights_only=True)
        here = plans.to(ours.device)
        latents, cost = agent.predictor.rollout(ours.context, here), ours.cost(agent)(here)
    differs = {name: differ(a.cpu(), theirs[name]) for name, a in (("latents", latents), ("cost", cost))}
    if max(differs.values()) > SAME:
        raise BadValue(f"--peer: it predicts something else: {differs}, expected at most {SAME}")
    return {"cases": answer["cases"], "peer_versions": answer["versions"], "differs_by": differs}


def differ(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest difference over the largest number."""
    return float((a - b).abs().max() / b.abs().max())


def summary(
    rounds: Sequence[Samples],
    environments: int,
    one: Mapping[str, Any],
    tops: Mapping[bool, Mapping[str, float]],
    device: str,
) -> Found:
    """The numbers of one case, from its wall and CPU seconds."""
    walls = np.array([wall for samples in rounds for wall, _ in samples])
    cpu = median(median(cpu for _, cpu in samples) for samples in rounds)
    wall = median(median(wall for wall, _ in samples) for samples in rounds)
    per, taken = ("cpu", cpu) if device == "cpu" else ("wall", wall)
    top = tops[one.get("bf16", False)][per]
    p50, p99 = 1000 * np.quantile(walls, (0.5, 0.99), method="inverted_cdf")
    return {
        "solves": len(walls),
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "cpu_ms": 1000 * cpu,
        "plans_per_s": environments / wall,
        "plans_per_cpu_s": environments / cpu,
        "ms_per_plan": 1000 * taken / environments,
        "ms_per_iteration": 1000 * taken / environments / one["iterations"],
        "flops_per_s": one["flops"] / taken,
        "ceiling_flops_per_s": top,
        "of_ceiling": one["flops"] / taken / top,
    }


def compare(ratio: Ratio, rounds: Sequence[Sequence[Samples]], cases: Sequence[Case], device: str) -> Found:
    """A ratio of every round, their median and range."""

    def plan(samples: Sequence[Samples], i: int) -> float:
        return median(sample[device == "cpu"] for sample in samples[i]) / cases[i].environments

    values = [plan(samples, ratio.over) / plan(samples, ratio.under) for samples in rounds]
    label = ratio.label.format(names(cases)[ratio.under])
    return {"label": label, "times": median(values), "range": (min(values), max(values))}


def rows(cases: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """The table: one line for each case."""
    head = (
        "case",
        "solves",
        "p50 ms",
        "p99 ms",
        "CPU-ms an iteration",
        "plans/s",
        "encode ms",
        "MB",
        "GFLOP",
        "of ceiling",
    )
    table: list[tuple[str, ...]] = [head]
    for one in cases:
        memory, encode = one.get("peak_mb"), one.get("encode_ms")
        table.append(
            (
                one["name"],
                str(one["solves"]),
                f"{one['p50_ms']:.1f}",
                f"{one['p99_ms']:.1f}",
                f"{one['cpu_ms'] / one['iterations']:.1f}",
                f"{one['plans_per_s']:.3g}",
                "-" if encode is None else f"{encode:.1f}",
                "not measured" if memory is None else f"{memory:.0f}",
                f"{one['flops'] / 1e9:.1f}",
                f"{one['of_ceiling']:.0%}",
            )
        )
    return table


def ratio_rows(ratios: Sequence[Mapping[str, Any]], device: str) -> list[tuple[str, ...]]:
    """The second table: times of plans over one another."""
    per = "CPU-seconds of a plan" if device == "cpu" else "seconds of a plan"
    found = [(one["label"], f"{one['times']:.2f}", *(f"{x:.2f}" for x in one["range"])) for one in ratios]
    return [(per, "times", "from", "to"), *found]
