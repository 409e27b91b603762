"""Our evaluation, and the same by Stable-Baselines3's ``evaluate_policy``: every pair ends the same.

Run it as ``python -m worldmodel.benchmarks.episodes --model runs/two-room``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worldmodel.cli import common
from worldmodel.errors import WorldModelError

if TYPE_CHECKING:
    from worldmodel.planners.agent import Agent


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare our evaluation with Stable-Baselines3's, pair by pair."""

    model: str
    """Run folder or model folder."""
    dataset: str | None = None
    """Episodes to take starts and goals from [what the model was trained on]."""
    episodes: int = 64
    """Start and goal pairs."""
    offset: int = 25
    """Environment steps from start to goal; twice as many are allowed."""
    envs: tuple[int, ...] = (1, 8)
    """How many environments Stable-Baselines3 runs at once."""
    seed: int = 0
    """Of the pairs and the search."""
    device: str = "auto"
    """auto, cpu, or an accelerator's name."""


def compare(options: Options) -> None:
    """Evaluate in all ways, print, and fail unless all agree."""
    from worldmodel.benchmarks.evaluate import evaluate
    from worldmodel.benchmarks.pair_episodes import evaluate_by_sb3, vector
    from worldmodel.benchmarks.pairs import sample_pairs
    from worldmodel.checkpoint import load_model, read_about
    from worldmodel.datasets.store import EpisodeStore
    from worldmodel.envs import registry

    with common.option("--model"):
        model, about = load_model(options.model, common.device(options.device)), read_about(options.model)
    env, size, budget = model.config.env, model.config.image_size, 2 * options.offset
    look = {"render_preset": about.get("render_preset", "fast")}
    path = options.dataset or (about.get("dataset") or {}).get("path") or common.default_file(env)
    with common.option("--dataset"), EpisodeStore(path) as store:
        task = registry.make(env, observation="state").unwrapped
        pairs = sample_pairs(store, task, options.offset, options.episodes, options.seed)

    def agent() -> Agent:
        return model.agent(goal_offset=options.offset, seed=options.seed)

    ours = evaluate(agent(), env, pairs, budget, size, **look)
    table, different = [["", "success %", "steps", "pairs that differ"]], 0
    table.append(["ours", f"{100 * ours.rate:.1f}", str(ours.steps.sum()), "-"])
    for count in options.envs:
        theirs = evaluate_by_sb3(agent(), vector(env, pairs, budget, count, size, **look), pairs, budget)
        differ = int(((theirs.success != ours.success) | (theirs.steps != ours.steps)).sum())
        table.append(
            [
                f"evaluate_policy, {count}",
                f"{100 * theirs.rate:.1f}",
                str(theirs.steps.sum()),
                f"{differ} of {len(pairs)}",
            ]
        )
        different += differ
    print(common.aligned(table))
    if different:
        raise WorldModelError(f"evaluate_policy ends otherwise in {different} cases")


def main() -> None:
    """Entry point."""
    common.run(lambda: compare(common.parse(Options)))


if __name__ == "__main__":
    main()
