"""A way of planning in one line: a planner, and options of it and of the agent: ``cem iterations=30 decay=1.25``."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

from worldmodel.errors import BadValue, UnknownName
from worldmodel.planners.config import AgentConfig

if TYPE_CHECKING:
    from worldmodel.model import WorldModel
    from worldmodel.planners.agent import Agent


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A planner and its options."""

    planner: str = "cem"
    options: Mapping[str, Any]  # fields of AgentConfig and of the planner's Config
    line: str = ""  # what was parsed

    def agent(self, model: WorldModel, env: Any = None) -> Agent:
        """Build the agent.

        Raises:
            UnknownName, BadValue: what does not exist or does not fit, with the setting.
        """
        try:
            return model.agent(env, planner=self.planner, **self.options)
        except (UnknownName, BadValue) as error:
            raise BadValue(f"setting {self.line!r}: {error}") from error


def parse(line: str, **base: Any) -> Setting:
    """Read a setting; ``base`` are options that its own go before.

    Raises:
        UnknownName, BadValue: a planner, an option or a value that does not exist, with the setting.
    """
    from worldmodel.planners.registry import planner_class

    planner, *words = line.split() or [""]
    try:
        kinds = get_type_hints(AgentConfig) | get_type_hints(planner_class(planner).Config)
        del kinds["planner"]
        pairs = [word.partition("=") for word in words]
        own = {name: _value(name, value, kinds) for name, _, value in pairs}
        return Setting(planner=planner, options={**base, **own}, line=line)
    except (UnknownName, BadValue) as error:
        raise BadValue(f"setting {line!r}: {error}") from error


def text(value: Any) -> str:
    """A value as ``parse`` reads it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _value(name: str, value: str, kinds: Mapping[str, Any]) -> Any:
    """The value of an option, of the type its config gives it."""
    if name not in kinds:
        raise UnknownName("planning option", name, kinds)

    import tyro

    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return tyro.cli(kinds[name], args=value.split(","), console_outputs=False)
    except SystemExit as stop:
        kind = getattr(kinds[name], "__name__", str(kinds[name]))
        raise BadValue(f"{name}: expected {kind}, got {value!r}") from stop
