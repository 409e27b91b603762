"""A way of planning in one line: a planner, and options of it and of the agent: ``cem iterations=30 decay=1.25``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worldmodel.errors import BadValue, WorldModelError

if TYPE_CHECKING:
    from worldmodel.model import WorldModel
    from worldmodel.planners.agent import Agent


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Options of an agent, its planner among them."""

    options: Mapping[str, Any]
    line: str = ""  # what was parsed

    def agent(self, model: WorldModel) -> Agent:
        """Build the agent.

        Raises:
            BadValue: what does not fit the model or the machine, with the setting.
        """
        with _named(self.line):
            return model.agent(**self.options)


def parse(line: str, **base: Any) -> Setting:
    """Read a setting; ``base`` are options that its own go before.

    Raises:
        BadValue: a planner, an option or a value that does not exist, with the setting.
    """
    from worldmodel.planners.options import configured, parsed

    planner, *words = line.split() or [""]
    with _named(line):
        options = {"planner": planner, **base, **parsed(words, planner)}
        configured(options)
    return Setting(options=options, line=line)


@contextmanager
def _named(line: str) -> Iterator[None]:
    try:
        yield
    except WorldModelError as error:
        raise BadValue(f"setting {line!r}: {error}") from error
