"""Looking on while an agent plans: a window with what it sees, wants and imagines or, without a display, a line.

Shapes: H model steps of a plan, D latent width, S side of a picture.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

import numpy as np
import torch
from torch import Tensor

from worldmodel.benchmarks.imagined import drawn_by
from worldmodel.envs import registry
from worldmodel.interfaces import Context

if TYPE_CHECKING:
    from worldmodel.benchmarks.pairs import Pairs
    from worldmodel.planners.agent import Agent
    from worldmodel.planners.state import AgentState, Row

SHOWN = 5  # pictures of an imagined plan
FILES = ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template")  # matplotlib's backends that open no window


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What there is to say and to see after an environment step."""

    pair: int  # from 1, in the order in which they are played
    pairs: int
    step: int  # environment steps taken, of at most ``budget``
    budget: int
    distance: float | None  # to the goal, in the task's own unit
    cost: float | None  # of the last plan, as it was predicted
    ms: float  # that a plan takes, mean
    succeeded: int  # of the pairs that are over
    over: int
    frame: np.ndarray  # (S, S, 3) uint8
    goal: np.ndarray | None
    imagined: np.ndarray | None  # (H, S, S, 3) of the last plan, where something turns latents into pictures

    def __str__(self) -> str:
        """One line, what matters most first: a terminal may be narrow."""
        said = [f"pair {self.pair}/{self.pairs}", f"environment step {self.step}/{self.budget}"]
        said += [f"{self.succeeded} of {self.over} succeeded"]
        said += [] if self.distance is None else [f"distance {self.distance:.3g}"]
        said += [] if self.cost is None else [f"predicted cost {self.cost:.3g}"]
        said += [f"{self.ms:.1f} ms a plan"]
        return "  ".join(said)


class Screen(Protocol):
    """Where a moment is shown."""

    def show(self, moment: Moment, over: bool) -> None:
        """Show a moment; ``over`` says that its episode has ended."""
        ...

    def close(self) -> None:
        """Stop showing."""
        ...


class Watch:
    """An agent with somebody looking on: it acts as the agent alone does, one environment at a time.

    ``evaluate(watch, ..., together=1, observer=watch.observe)``.

    Args:
        agent: whose plans are watched.
        pairs: how many episodes there will be.
        budget: environment steps allowed in each.
        screen: where to show them.
        pictures: turns latents (H, D) into pictures, a decoder's ``pictures`` or a ``Bank``; None to imagine nothing.
    """

    def __init__(
        self,
        agent: Agent,
        pairs: int,
        budget: int,
        screen: Screen,
        pictures: Callable[[Tensor], np.ndarray] | None = None,
    ) -> None:
        self.agent, self.pairs, self.budget, self.screen, self.pictures = agent, pairs, budget, screen, pictures
        self.pair = self.succeeded = 0
        self.imagined: np.ndarray | None = None

    def begin(self, rows: Sequence[int]) -> AgentState:
        """As the agent does."""
        self.pair, self.imagined = self.pair + 1, None
        return self.agent.begin(rows)

    def predict(self, observation: Mapping[str, Any], state: AgentState) -> tuple[np.ndarray, AgentState]:
        """As the agent does; what a new plan should lead to is kept for the screen."""
        action, new = self.agent.predict(observation, state)
        if self.pictures is not None and new.rows[0].plans > state.rows[0].plans:
            self.imagined = self.pictures(self._foreseen(new.rows[0]))
        return action, new

    def observe(
        self, row: int, step: int, observation: Mapping[str, np.ndarray], info: Mapping[str, Any], over: bool
    ) -> None:
        """Show what a step led to.

        Args:
            row: number of the pair.
            step: environment steps taken.
            observation: what the environment shows then.
            info: what it says besides.
            over: whether the episode has ended.
        """
        self.succeeded += over and bool(info["success"])
        solves, distance = self.agent.stats.solves, info.get("distance")
        moment = Moment(
            pair=self.pair,
            pairs=self.pairs,
            step=step,
            budget=self.budget,
            distance=None if distance is None else float(distance),
            cost=float(solves[-1].curve[-1, 0]) if solves[-1].iterations else None,
            ms=self.agent.stats.ms_per_plan,
            succeeded=self.succeeded,
            over=self.pair - 1 + over,
            frame=observation["pixels"],
            goal=observation.get("goal"),
            imagined=self.imagined,
        )
        self.screen.show(moment, over)

    @torch.no_grad()
    def _foreseen(self, memory: Row) -> Tensor:
        """Latents (H, D) that the plan just made should lead to."""
        assert memory.plan is not None
        seen = Context(memory.z[None], memory.actions[None])
        return self.agent.predictor.rollout(seen, memory.plan[None, None])[0, 0]


class Line:
    """A line that changes in place on a terminal; elsewhere a line for every episode that has ended."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()

    def show(self, moment: Moment, over: bool) -> None:
        """Write the line, as much of it as a terminal is wide."""
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            self.stream.write(f"\r{str(moment)[:width]}\x1b[K")
        elif over:
            self.stream.write(f"{moment}\n")
        self.stream.flush()

    def close(self) -> None:
        """Leave the last line standing."""
        if self.live:
            self.stream.write("\n")


class Window:
    """What is seen and what is wanted, above what the plan should lead to.

    Where it is closed, the line goes on.

    Args:
        action_block: F, environment steps in a model step.
        line: what to say besides.
    """

    def __init__(self, action_block: int, line: Line) -> None:
        import matplotlib.pyplot as plt

        self.plt, self.block, self.line = plt, action_block, line
        places: dict[str, Any]
        rows: list[Any] = [["now"] * SHOWN + ["goal"] * SHOWN, [f"{i}" for i in range(SHOWN) for _ in range(2)]]
        self.figure, places = plt.subplot_mosaic(
            rows,
            height_ratios=[5, 2],
            layout="constrained",
            figsize=(8, 6),
        )
        self.images = {}
        for name, axes in places.items():
            axes.set_axis_off()
            self.images[name] = axes.imshow(np.full((1, 1, 3), 255, np.uint8), interpolation="nearest")
        places["now"].set_title("now")
        places["goal"].set_title("goal")
        plt.show(block=False)

    def show(self, moment: Moment, over: bool) -> None:
        """Draw the moment and let the window answer."""
        self.line.show(moment, over)
        if not self.plt.fignum_exists(self.figure.number):
            return
        shown = {"now": moment.frame} | ({} if moment.goal is None else {"goal": moment.goal})
        imagined = moment.imagined
        for i in range(SHOWN):
            at = 0 if imagined is None else (i + 1) * len(imagined) // SHOWN
            if imagined is not None and at > 0:
                shown[f"{i}"] = imagined[at - 1]
                self.images[f"{i}"].axes.set_title(
                    f"imagined after\n{at * self.block} environment steps", fontsize="small"
                )
        for name, picture in shown.items():
            side = picture.shape[0]
            self.images[name].set(data=picture, extent=(0, side, side, 0))
        self.figure.suptitle(str(moment), fontsize="small")
        self.figure.canvas.draw_idle()
        self.figure.canvas.start_event_loop(0.001)

    def close(self) -> None:
        """Close window and line."""
        self.plt.close(self.figure)
        self.line.close()


@contextmanager
def looking_on(agent: Agent, env: str, pairs: Pairs, budget: int, model: str | Path, **look: Any) -> Iterator[Watch]:
    """Look on while an agent plans on pairs, in a window where one can be opened.

    Args:
        agent: to watch.
        env: name of the task.
        pairs: starts and goals; their pictures stand in for what is imagined where the model has no decoder.
        budget: environment steps allowed.
        model: folder of the agent's model.
        look: arguments of the environment.
    """
    config = agent.model.config
    task = registry.make(env, image_size=config.image_size, **look).unwrapped

    def frames() -> np.ndarray:
        if not task.restorable:
            return np.stack([way["goal"] for way in pairs.ways])
        ends = np.stack([pairs.starts, pairs.goals], axis=1)
        return np.concatenate([pairs.draw(task, row, states) for row, states in enumerate(ends)])

    try:
        _, pictures = drawn_by(model, agent.model, frames)
    finally:
        task.close()
    shown = screen(config.action_block)
    with closing(shown):
        yield Watch(agent, len(pairs), budget, shown, pictures)


def screen(action_block: int) -> Screen:
    """A window where matplotlib can open one, else a line on stderr."""
    import matplotlib.pyplot as plt

    drawn_to_files = plt.get_backend().lower() in FILES or "inline" in plt.get_backend()
    return Line() if drawn_to_files else Window(action_block, Line())
