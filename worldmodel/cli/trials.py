"""What ``wm-plan`` measures: reaching goals on held-out pairs, or earning reward from beginnings of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from worldmodel.benchmarks import evaluate, report, returns
from worldmodel.benchmarks.pairs import sample_pairs
from worldmodel.cli import common

if TYPE_CHECKING:
    from worldmodel.benchmarks.evaluate import Rollout
    from worldmodel.cli.plan import Options
    from worldmodel.datasets.store import EpisodeStore
    from worldmodel.planners.agent import Agent

OFFSET = 25  # environment steps to a goal


class Goals:
    """Success on start and goal pairs from held-out episodes.

    Args:
        options: of the command.
        env: the task's name.
        task: the task itself.
        store: the episodes; may be closed afterwards.
        look: arguments of every environment.
    """

    def __init__(self, options: Options, env: str, task: Any, store: EpisodeStore, look: Mapping[str, Any]) -> None:
        offset = options.offset or OFFSET
        self.env, self.seed, self.look = env, options.seed, look
        self.pairs = sample_pairs(store, task, offset, options.episodes, options.seed, options.split, options.variation)
        self.budget = options.budget or 2 * offset
        self.agent_options = {"goal_offset": offset}
        self.start = self.pairs.options(0)

    def play(self, agent: Agent, watch: int, together: int) -> None:
        """Let the agent act, then what it is compared with."""
        total, size = len(self.pairs) * self.budget, agent.model.config.image_size
        with common.bar(total, "step", f"plan {self.env}") as bar:
            self.outcome = evaluate.evaluate(
                agent, self.env, self.pairs, self.budget, size, watch, together, bar.update, **self.look
            )
        with common.bar(3 * total, "step", "floors and ceiling") as bar:
            self.baselines = evaluate.floors_and_ceiling(self.env, self.pairs, self.budget, self.seed, bar.update)

    @property
    def rollouts(self) -> Sequence[Rollout]:
        """Some to look at."""
        return self.outcome.rollouts

    def values(self, planning: report.Planning) -> dict[str, Any]:
        """Everything measured, for JSON."""
        return report.as_dict(self.pairs, self.budget, self.seed, self.outcome, self.baselines, planning)

    rows = staticmethod(report.rows)


class Rewards:
    """Returns of episodes from seeds that no collection has used, beside those of the dataset's behaviour.

    Args:
        options: of the command.
        env: the task's name.
        task: not looked at.
        store: the episodes that show what behaviour earns; may be closed afterwards.
        look: arguments of every environment.
    """

    def __init__(self, options: Options, env: str, task: Any, store: EpisodeStore, look: Mapping[str, Any]) -> None:
        self.env, self.seed, self.look = env, options.seed, look
        self.seeds = returns.beginnings(options.episodes, options.seed)
        with common.option("--dataset"):
            self.budget = options.budget or returns.usual_budget(store)
            self.behaviour = returns.recorded(store, self.budget)
        self.agent_options: dict[str, Any] = {}
        self.start: dict[str, Any] = {}

    def play(self, agent: Agent, watch: int, together: int) -> None:
        """Let the agent act, then what it is compared with."""
        size = agent.model.config.image_size
        with common.bar(len(self.seeds) * self.budget, "step", f"plan {self.env}") as bar:
            self.earned = returns.earn(
                agent, self.env, self.seeds, self.budget, size, watch, together, bar.update, **self.look
            )
        floors = returns.floors(self.env, self.seeds, self.budget, self.seed)
        self.baselines = {name: earned.returns for name, earned in floors.items()} | {"data": self.behaviour}

    @property
    def rollouts(self) -> Sequence[Rollout]:
        """Some to look at."""
        return self.earned.rollouts

    def values(self, planning: report.Planning) -> dict[str, Any]:
        """Everything measured, for JSON."""
        return returns.as_dict(self.earned, self.baselines, self.budget, self.seed, planning)

    rows = staticmethod(returns.rows)


TRIALS: dict[str, type[Goals] | type[Rewards]] = {"goal": Goals, "reward": Rewards}
