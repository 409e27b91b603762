"""Which ideas help? All of them against the default and both published recipes: equal data, equal compute, same pairs.

Run it as ``python -m worldmodel.benchmarks.study --stage screen``: every row of `study_variants.VARIANTS` on pusht, one
training seed, offset 25. Then carry the best on, ``--stage final --variants prefix-16 no-mirror``: four tasks, two
seeds, offsets 25, 50 and 75, with the baselines and the default. ``--dry-run`` says what is left to do and how long it
takes, and shows what is there. What is finished is never repeated: after Ctrl-C, or with further rows, the same command
goes on.

Data are collected by command and seed and known by their fingerprint; the held-out pairs of a task and offset are drawn
once, for everybody. What equal compute is, `study_compute` says. Both stages share the trainings that they have in
common. ``study-<stage>.json`` holds every cell and every paired comparison, ``.md`` the tables, ``.png`` the chart. The
first is also what another machine goes on from: it has who solved which pair, and what a step of each training costs.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import asdict, dataclass
from functools import partial
from io import StringIO
from math import inf
from pathlib import Path
from typing import Any

from worldmodel import checks
from worldmodel.benchmarks import study_compute, study_kept, study_tables
from worldmodel.benchmarks.study_jobs import Call, Jobs, Work
from worldmodel.benchmarks.study_runs import Study
from worldmodel.benchmarks.study_variants import (
    DEFAULT,
    REFERENCE,
    VARIANTS,
    Evaluation,
    Training,
    Variant,
    chosen,
    of_evaluation,
    training_of,
)
from worldmodel.cli import common
from worldmodel.errors import BadValue, UnknownName, WorldModelError
from worldmodel.files import locked, replacing, write_json

OFFSETS = (25, 50, 75, 100)  # for which there are protocols


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What a stage covers unless told otherwise."""

    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    offsets: tuple[int, ...]


STAGES = {
    "screen": Stage(tasks=("pusht",), seeds=(0,), offsets=(25,)),
    "final": Stage(
        tasks=("two-room", "pusht", "dmc/reacher-qpos", "ogbench/cube-single"), seeds=(0, 1), offsets=(25, 50, 75)
    ),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train and judge ideas on equal data, compute and pairs; what is finished is not repeated."""

    stage: str = "screen"
    """screen: all ideas, pusht, one seed, offset 25; or final: four tasks, two seeds, offsets 25, 50, 75."""
    variants: tuple[str, ...] = ()
    """Ideas besides the baselines and the default [screen: all; final: none]."""
    tasks: tuple[str, ...] = ()
    """Tasks [the stage's]."""
    seeds: tuple[int, ...] = ()
    """Of the trainings [the stage's]."""
    offsets: tuple[int, ...] = ()
    """Environment steps from start to goal: 25, 50, 75, 100 [the stage's]."""
    budget_minutes: float = 15.0
    """Processor minutes of each training."""
    pairs: int = 200
    """Held-out start and goal pairs of each task and offset."""
    jobs: int = 2
    """Trainings side by side, each with one thread."""
    folder: str = "runs/study"
    """Where everything is kept; another study needs another folder."""
    data: str | None = None
    """Folder of the datasets, <task>.h5, collected when missing [data in the folder]."""
    results: str = "benchmarks/results"
    """Folder for study-<stage>.json, .md and .png."""
    dry_run: bool = False
    """Do nothing, say what is to be done."""

    @property
    def written(self) -> Path:
        """The file of the results."""
        return Path(self.results) / f"study-{self.stage}.json"


def plan(options: Options) -> tuple[list[Variant], list[Evaluation]]:
    """The ideas of a stage, and every evaluation it needs, those of one training behind each other.

    Raises:
        UnknownName: no such stage, idea or task.
        BadValue: a number out of range.
    """
    if options.stage not in STAGES:
        raise UnknownName("--stage", options.stage, STAGES)
    usual = STAGES[options.stage]
    if not 0 < options.budget_minutes < inf:
        raise BadValue(f"--budget-minutes: expected a finite number above 0, got {options.budget_minutes}")
    for name, numbers, least in (
        ("--pairs", (options.pairs,), 1),
        ("--jobs", (options.jobs,), 1),
        ("--seeds", options.seeds, 0),
    ):
        if wrong := [number for number in numbers if number < least]:
            raise BadValue(f"{name}: expected {least} or more, got {wrong[0]}")
    if unknown := [offset for offset in options.offsets if offset not in OFFSETS]:
        raise BadValue(f"--offsets: expected some of {', '.join(map(str, OFFSETS))}, got {unknown[0]}")
    with common.option("--tasks"):
        tasks = [common.short_name(task) for task in options.tasks or usual.tasks]
    everything = [v.name for v in VARIANTS] if options.stage == "screen" else [DEFAULT]
    variants = chosen(options.variants or everything, VARIANTS)
    flags = {training_of(v, VARIANTS): v.train for v in variants}
    return variants, [
        Evaluation(Training(task, name, told, seed, options.budget_minutes), variant, offset)
        for seed in options.seeds or usual.seeds
        for task in tasks
        for name, told in flags.items()
        for variant in variants
        if training_of(variant, VARIANTS) == name
        for offset in options.offsets or usual.offsets
    ]


def require_sound(variants: Sequence[Variant], task: str) -> None:
    """Refuse flags that wm-train or wm-plan would refuse, before anything is done.

    Raises:
        BadValue: names the idea.
    """
    from worldmodel.cli import plan_options

    for variant in variants:
        said = StringIO()
        try:
            with redirect_stderr(said):
                options = study_compute.options_of(variant.train, task)
                checks.check(options.model, options.loss, options.train)
                plan_options.check(common.parse(plan_options.Options, variant.plan.split()))
        except (SystemExit, WorldModelError) as error:
            raise BadValue(f"idea {variant.name}: {said.getvalue().strip() or error}") from error


def expected(study: Study, evaluations: Sequence[Evaluation], jobs: int) -> str:
    """What is left to do, and how long that takes by what was measured in this study."""
    known = study.took()
    left = [e for e in evaluations if not study.is_evaluated(e)]
    trainings = [t for t in dict.fromkeys(e.training for e in left) if not study.is_trained(t)]
    seconds, untimed = sum(60 * t.minutes for t in trainings), 0
    for evaluation in left:
        told = of_evaluation(evaluation)
        alike = [
            {name: told[name] for name in names}
            for names in (("command", "task", "variant", "offset"), ("command", "task", "offset"))
        ]
        times = [[x["cpu_s"] for x in known if not x["code"] and one.items() <= x.items()] for one in alike]
        best = next((found for found in times if found), [])
        seconds += sum(best) / len(best) if best else 0
        untimed += not best
    lines = [
        f"{t.task} {t.name} seed {t.seed} {study.steps(t) or 'steps not measured yet'} {t.flags}".rstrip()
        for t in trainings
    ]
    lines.append(f"{len(trainings)} trainings and {len(left)} of {len(evaluations)} evaluations are left to do")
    alone = " of training alone" if untimed == len(left) > 0 else ""
    more = f"; to these come {untimed} evaluations of which none is timed yet" if untimed else ""
    return "\n".join([*lines, f"about {seconds / 3600 / jobs:.1f} hours{alone}, {jobs} side by side{more}"])


def run(options: Options, call: Call | None = None) -> None:
    """Do what is missing, then join, print and write.

    Args:
        options: what to do.
        call: runs a command; in a process of its own by default.

    Raises:
        WorldModelError: commands that failed; everything else is done.
    """
    variants, evaluations = plan(options)
    folder = Path(options.folder)
    reference = next(v.train for v in VARIANTS if v.name == REFERENCE)
    study = Study(folder, Path(options.data or folder / "data"), options.pairs, reference)
    study_kept.recall(study, options.written, options.budget_minutes)
    require_sound(variants, evaluations[0].training.task)
    variants = known(study, variants)
    if options.dry_run:
        print(expected(study, evaluations, options.jobs))
        print(study_tables.markdown(results(study, evaluations, variants), variants))
        return
    jobs = Jobs()
    work = Work(study, evaluations, call or jobs.call)
    with locked(folder / "lock", f"--folder: another process works in {folder}"):
        try:
            jobs.beside([work.prepare], 1)
            print(expected(study, evaluations, options.jobs), flush=True)
            chains = [partial(work.chain, training) for training in dict.fromkeys(e.training for e in evaluations)]
            jobs.beside(chains, options.jobs)
        finally:  # whatever ends it: another machine may have to go on
            found = keep(options, study, variants, evaluations)
    show(options, found, variants)
    if work.failed:
        raise WorldModelError(f"failed: {', '.join(work.failed)}; {folder / 'logs'} has what they said")


def results(study: Study, evaluations: Sequence[Evaluation], variants: Sequence[Variant]) -> dict[str, Any]:
    """Everything that was found so far, here or by whoever wrote the results before."""
    from worldmodel.benchmarks import study_results

    cells, episodes = study_results.gather(study, evaluations)
    order = [v.name for v in variants]
    found = study_results.join(sorted(cells, key=lambda one: order.index(one["variant"])), episodes)
    return {**found, "macro": study_results.macro(found["rows"])}


def known(study: Study, variants: Sequence[Variant]) -> list[Variant]:
    """Ideas that are asked for or of which the results keep evaluations, in the table's order; removed ones last."""
    found = {about["name"]: Variant(**about) for about in study.kept["variants"]} | {v.name: v for v in variants}
    order = [v.name for v in VARIANTS if v.name in found]
    return [found[name] for name in [*order, *(name for name in found if name not in order)]]


def keep(
    options: Options, study: Study, variants: Sequence[Variant], evaluations: Sequence[Evaluation]
) -> dict[str, Any]:
    """Write the numbers of what is there, and return them."""
    import torch

    from worldmodel.benchmarks.provenance import provenance

    found = results(study, evaluations, variants)
    tasks = [*dict.fromkeys(cell["task"] for cell in found["cells"])]
    settings = {"stage": options.stage, "budget_minutes": options.budget_minutes, "pairs": options.pairs}
    told = {
        "options": settings,
        "variants": [asdict(v) for v in variants],
        "data": {task: study.known_data(task) for task in tasks},
        "compute": {task: study.costs(task) for task in tasks},
    }
    if tasks:
        write_json(options.written, {**told, **found, **provenance(torch.device("cpu"))})
    return found


def show(options: Options, found: Mapping[str, Any], variants: Sequence[Variant]) -> None:
    """Print and write the tables and the charts."""
    from worldmodel.benchmarks import plots

    path = options.written
    text = study_tables.markdown(found, variants)
    with replacing(path.with_suffix(".md")) as temporary:
        temporary.write_text(text)
    print(text)
    print(f"numbers: {path}")
    kinds = {"": plots.ideas, "-offsets": plots.offsets, "-latency": plots.latency}
    for end, draw in kinds.items() if found["rows"] else ():
        if not end or options.stage == "final":
            print(f"chart: {draw(found, path.with_name(f'{path.stem}{end}.png'))}")


def main() -> None:
    """Entry point."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    common.run(lambda: run(common.parse(Options)))


if __name__ == "__main__":
    main()
