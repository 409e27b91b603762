"""What ``wm-plan`` measures: reaching goals on held-out pairs, or earning reward from beginnings of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldmodel import shipped
from worldmodel.benchmarks import evaluate, protocols, report, returns, simulator
from worldmodel.benchmarks.pairs import Pairs, official_pairs, sample_pairs
from worldmodel.benchmarks.protocols import Protocol
from worldmodel.benchmarks.record import PAIRS, RESULT, Record, load_pairs
from worldmodel.benchmarks.watch import looking_on
from worldmodel.cli import common, plan
from worldmodel.cli.plan_options import DRAWING, planned_otherwise
from worldmodel.envs.registry import file_name
from worldmodel.errors import BadFile, BadValue

if TYPE_CHECKING:
    from worldmodel.benchmarks.evaluate import Rollout
    from worldmodel.cli.plan_options import Options
    from worldmodel.planners.agent import Agent

REWARD_EPISODES = 20
SHIPPED_PAIRS = 50  # of those that a shipped model brings along, for a first look


@dataclass(frozen=True)
class Asked:
    """What is to be measured.

    Attributes:
        options: of the command.
        env: the task's name.
        task: the task itself.
        image_size: side of the model's pictures.
        look: arguments of every environment.
        folder: of the model.
        about: what its ``config.json`` says.
    """

    options: Options
    env: str
    task: Any
    image_size: int
    look: Mapping[str, Any]
    folder: Path
    about: Mapping[str, Any]


class Goals:
    """Success on start and goal pairs, by a protocol."""

    def __init__(self, asked: Asked) -> None:
        options, env, task, about = asked.options, asked.env, asked.task, asked.about
        self.look, self.image_size, self.workers = asked.look, asked.image_size, options.workers
        self.env = env
        self.watched, self.folder = options.watch and not common.rank(), asked.folder
        self.simulated, self.asked = options.simulator, planned_otherwise(options)
        if self.simulated and not task.restorable:
            raise BadValue(f"--simulator: {env} cannot be put into a state, so nothing can be simulated from there")
        self.ceiling: dict[str, Any] | None = None
        self.notes: list[str] = []
        self.dataset: dict[str, str] | None = None
        self.trained_with = about.get("seed")
        kept = about.get("protocol")
        if options.pairs is not None:
            self.pairs, self.protocol = self._given(options, about)
            with common.option("--protocol"):
                protocols.require_same(self.protocol, kept, str(asked.folder))
        else:
            with common.option("--protocol"):
                self.protocol = self._changed(protocols.load(options.protocol or protocols.DEFAULT), options)
                protocols.require_possible(self.protocol, task, env)
                protocols.require_same(self.protocol, kept, str(asked.folder))
            self.pairs = self._shipped(options, asked.folder, task, about)
        self.budget: int = self.protocol.budget or task.official_steps
        self.agent_options = {"goal_offset": self.pairs.offset, "seed": self.protocol.seed}
        self.start = self.pairs.options(0)

    def _changed(self, protocol: Protocol, options: Options) -> Protocol:
        """The rules with what was asked for instead."""
        if protocol.goals == "official":
            for name in DRAWING:
                if name != "episodes" and getattr(options, name) is not None:
                    with common.option(f"--{name}"):
                        raise BadValue(f"has no effect on the official goals of protocol {protocol.name}")
        return protocol.change(
            offset=options.offset,
            budget=options.budget or (2 * options.offset if options.offset else None),
            split=options.split,
            pairs=options.episodes,
            variation=options.variation,
            seed=options.seed,
        )

    def _shipped(self, options: Options, folder: Path, task: Any, about: Mapping[str, Any]) -> Pairs:
        """Pairs that a shipped model brings along, if they are of these rules and enough; else others are drawn."""
        p, file = self.protocol, folder / shipped.PAIRS
        if options.dataset is not None or not file.is_file():
            return self._drawn(options, task, about)
        pairs = load_pairs(file)
        n = options.episodes or min(SHIPPED_PAIRS, len(pairs))
        same = all(getattr(p, name) == getattr(pairs, name) for name in ("offset", "strict", "variation", "split"))
        if not same or p.seed != protocols.load(shipped.RULES).seed or n > len(pairs):
            try:
                return self._drawn(options, task, about)
            except BadFile as error:
                only = f"the model brings along {len(pairs)} pairs of {shipped.RULES} only"
                raise BadFile(f"{error} ({only})") from error
        self.protocol = p.change(pairs=n)
        if n < len(pairs):
            self.notes.append(
                f"{n} of the {len(pairs)} pairs that the model brought along: --episodes {len(pairs)} takes all"
            )
        return pairs if n == len(pairs) else pairs.some(n)

    def _drawn(self, options: Options, task: Any, about: Mapping[str, Any]) -> Pairs:
        p = self.protocol
        if p.goals == "official":
            return official_pairs(task, self.env, p.pairs, p.seed, p.strict)
        trained_on = about.get("dataset") or {}
        with plan.dataset(options, self.env, trained_on, self.image_size, **self.look) as store:
            self.notes += plan.held_out(options.dataset, about, store, p.split)
            self.dataset = {"path": str(store.path), "fingerprint": store.fingerprint}
            assert p.offset is not None
            fewer = options.episodes is None
            pairs = sample_pairs(store, task, p.offset, p.pairs, p.seed, p.split, p.variation, p.strict, fewer)
        if len(pairs) < p.pairs:
            self.notes.append(
                f"{p.name} asks for {p.pairs} pairs, the {p.split} episodes of {store.path} hold {len(pairs)}"
            )
            self.protocol = p.change(pairs=len(pairs))
        return pairs

    def _given(self, options: Options, about: Mapping[str, Any]) -> tuple[Pairs, Protocol]:
        """The pairs of an earlier evaluation, and its rules or those asked for, which must be of such pairs."""
        assert options.pairs is not None
        path = Path(options.pairs)
        with common.option("--pairs"):
            pairs = load_pairs(path / PAIRS if path.is_dir() else path)
            if pairs.env != self.env:
                raise BadFile(f"{path} holds pairs of {pairs.env}, not of {self.env}")
        with common.option("--protocol"):
            if options.protocol is None and (path / RESULT).is_file():
                protocol = protocols.from_values(Record.load(path).values["protocol"])
            else:
                protocol = protocols.load(options.protocol or protocols.DEFAULT).change(pairs=len(pairs))
            for name in ("offset", "strict", "variation"):
                if getattr(protocol, name) != getattr(pairs, name):
                    raise BadFile(
                        f"{path} holds pairs with {name} {getattr(pairs, name)}, {protocol.name} has "
                        f"{getattr(protocol, name)}: name the protocol that they were drawn by"
                    )
        fingerprints = {
            (about.get("dataset") or {}).get("fingerprint"),
            *((about.get("dataset") or {}).get("before") or ()),
        }
        if pairs.dataset is not None and fingerprints != {pairs.dataset}:
            self.notes.append(plan.ELSEWHERE)
        split = None if protocol.goals == "official" else pairs.split
        return pairs, protocol.change(split=split, budget=options.budget, seed=options.seed)

    def play(self, agent: Agent, watch: int, together: int) -> None:
        """Let the agent act, then what it is compared with."""
        total, seed, n = len(self.pairs) * self.budget, self.protocol.seed, min(self.simulated, len(self.pairs))
        played: dict[str, Any] = {"task": self.env, "pairs": self.pairs, "budget": self.budget, **self.look}
        played |= {"image_size": self.image_size, "watch": watch}
        if self.watched:
            with looking_on(agent, self.env, self.pairs, self.budget, self.folder, **self.look) as seen:
                self.outcome = evaluate.evaluate(seen, together=1, observer=seen.observe, **played)
        else:
            with common.bar(total, "step", f"plan {self.env}") as bar:
                self.outcome = evaluate.evaluate(
                    agent, together=together, progress=bar.update, workers=self.workers, **played
                )
        with common.bar(3 * total, "step", "floors and ceiling") as bar:
            self.baselines = evaluate.floors_and_ceiling(
                self.env, self.pairs, self.budget, seed, bar.update, self.workers
            )
        if n:
            rows = simulator.some(len(self.pairs), n)
            with common.bar(len(rows) * self.budget, "step", "plan on the simulator") as bar:
                _, self.ceiling = simulator.ceiling(
                    self.env,
                    self.pairs,
                    self.budget,
                    seed,
                    self.outcome,
                    n,
                    bar.update,
                    self.workers,
                    horizon=agent.config.horizon,
                    action_block=agent.model.config.action_block,
                    execute_steps=agent.execute_steps,
                )

    @property
    def rollouts(self) -> Sequence[Rollout]:
        """Some to look at."""
        return self.outcome.rollouts

    def values(self, planning: report.Planning) -> dict[str, Any]:
        """Everything measured, for JSON."""
        found = report.as_dict(self.protocol, self.pairs, self.budget, self.outcome, self.baselines, planning)
        seeds = {"training": self.trained_with, "evaluation": self.protocol.seed}
        return {**found, "simulator": self.ceiling, "seeds": seeds, "dataset": self.dataset}

    def keep(self, values: Mapping[str, Any], folder: str | None, run: Path) -> Path:
        """Write the record of the evaluation."""
        changed = [f"{name}-{getattr(self.protocol, name)}" for name in self.protocol.changed]
        name = file_name("-".join([self.protocol.name, *changed, *self.asked, values["predictor"]]))
        record = Record(values=values, pairs=self.pairs, outcome=self.outcome, floors=self.baselines)
        return record.save(folder or run / "evaluation" / name)

    rows = staticmethod(report.rows)


class Rewards:
    """Returns of episodes from seeds that no collection has used, beside those of the dataset's behaviour."""

    def __init__(self, asked: Asked) -> None:
        options, env, look, image_size = asked.options, asked.env, asked.look, asked.image_size
        self.env, self.seed, self.image_size, self.look = env, options.seed or 0, image_size, look
        self.workers = options.workers
        self.seeds = returns.beginnings(options.episodes or REWARD_EPISODES, self.seed)
        trained_on = asked.about.get("dataset") or {}
        with plan.dataset(options, env, trained_on, image_size, **look) as store:
            self.dataset = {"path": str(store.path), "fingerprint": store.fingerprint}
            with common.option("--dataset"):
                self.budget = options.budget or returns.usual_budget(store)
                self.behaviour = returns.recorded(store, self.budget)
        self.notes: list[str] = []
        self.agent_options: dict[str, Any] = {"seed": self.seed}
        self.start: dict[str, Any] = {}

    def play(self, agent: Agent, watch: int, together: int) -> None:
        """Let the agent act, then what it is compared with."""
        with common.bar(len(self.seeds) * self.budget, "step", f"plan {self.env}") as bar:
            self.earned = returns.earn(
                agent,
                self.env,
                self.seeds,
                self.budget,
                self.image_size,
                watch,
                together,
                bar.update,
                self.workers,
                **self.look,
            )
        floors = returns.floors(self.env, self.seeds, self.budget, self.seed)
        self.baselines = {name: earned.returns for name, earned in floors.items()} | {"data": self.behaviour}

    @property
    def rollouts(self) -> Sequence[Rollout]:
        """Some to look at."""
        return self.earned.rollouts

    def values(self, planning: report.Planning) -> dict[str, Any]:
        """Everything measured, for JSON."""
        found = returns.as_dict(self.earned, self.baselines, self.budget, self.seed, planning)
        return {**found, "dataset": self.dataset}

    def keep(self, values: Mapping[str, Any], folder: str | None, run: Path) -> None:
        """Nothing: returns are all there is."""

    rows = staticmethod(returns.rows)


TRIALS: dict[str, type[Goals] | type[Rewards]] = {"goal": Goals, "reward": Rewards}
