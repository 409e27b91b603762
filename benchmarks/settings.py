"""A way of planning in one line: a planner, and options of it and of the agent: ``cem iterations=30 decay=1.25``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worldmodel.errors import BadValue, WorldModelError
from worldmodel.planners.settings import configured, parsed

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


def parse(line: str, flags: Mapping[str, str] | None = None, **base: Any) -> Setting:
    """Read a setting.

    Args:
        line: what was typed.
        flags: options that are not to be given there, and what gives them instead.
        base: options that its own go before.

    Raises:
        BadValue: a planner, an option or a value that does not exist, with the setting.
    """
    planner, *words = line.split() or [""]
    with _named(line):
        if any(word.startswith("planner=") for word in words):
            raise BadValue("planner: it is the first word of a setting")
        options = {"planner": planner, **base, **parsed(words, planner, flags)}
        configured(options)
    return Setting(options=options, line=line)


@contextmanager
def _named(line: str) -> Iterator[None]:
    try:
        yield
    except WorldModelError as error:
        raise BadValue(f"setting {line!r}: {error}") from error
