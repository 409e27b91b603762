"""By what rules a model is judged: small files with a version, in ``worldmodel/protocols/``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib.resources import files
from typing import Any

import yaml

from worldmodel.errors import BadFile, BadValue, UnknownName

DEFAULT = "lewm-25"


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Rules of an evaluation.

    Two results may be compared if the rules are equal: name and version, and nothing changed.
    """

    name: str
    version: int
    offset: int | None = None  # environment steps from start to goal in the demonstration; None for official goals
    budget: int | None = None  # environment steps allowed; None for the task's official time limit
    split: str = "test"  # whose episodes starts and goals are taken from
    pairs: int = 200
    seed: int = 0  # of the pairs, the search and the random policy
    strict: bool = False  # `Pairs.strict`
    goals: str = "demonstration"  # or official: the task's own
    variation: str = ""  # factors of the world that are drawn for each pair
    changed: tuple[str, ...] = ()  # fields that are not as in the file

    def __str__(self) -> str:
        """Name, version and what was changed, as a table shows it."""
        told = ", ".join(f"{name} {getattr(self, name)}" for name in self.changed)
        return f"{self.name} v{self.version}" + (f", but {told}" if told else "")

    def change(self, **values: Any) -> Protocol:
        """Return the same rules with some fields changed, which is noted; None leaves a field as it is."""
        values = {k: v for k, v in values.items() if v is not None and v != getattr(self, k)}
        kept = asdict(self) | values
        return Protocol(**kept | {"changed": tuple(sorted({*self.changed, *values}))})


def names() -> list[str]:
    """Every protocol there is."""
    return sorted(file.name.removesuffix(".yaml") for file in _folder().iterdir() if file.name.endswith(".yaml"))


def load(name: str) -> Protocol:
    """Read a protocol by its name.

    Raises:
        UnknownName: no such protocol.
    """
    if name not in names():
        raise UnknownName("protocol", name, names())
    return Protocol(name=name, **yaml.safe_load((_folder() / f"{name}.yaml").read_text(encoding="utf-8")))


def kept_ready() -> dict[str, Any]:
    """What a model keeps of the rules that it can be judged by: their versions, and whose episodes it left out."""
    return {"split": "test", "versions": {name: load(name).version for name in names()}}


def from_values(values: Mapping[str, Any]) -> Protocol:
    """The rules of an earlier result, from its ``protocol``.

    Raises:
        BadFile: this package has another version of them, or not at all.
    """
    known = {field.name for field in fields(Protocol)}
    rules: dict[str, Any] = {k: tuple(v) if k == "changed" else v for k, v in values.items() if k in known}
    found = Protocol(**rules)
    if found.name not in names() or load(found.name).version != found.version:
        raise BadFile(f"the result is of {found.name} v{found.version}, which this package does not have")
    return found


def require_same(protocol: Protocol, kept: Mapping[str, Any] | None, model: str) -> None:
    """Refuse to judge a model by rules that it was not kept ready for.

    Args:
        protocol: the rules, with what was changed.
        kept: ``protocol`` of the model's ``config.json`` (see `kept_ready`). Models without it are anybody's guess and
            let pass.
        model: what to call the model.

    Raises:
        BadFile: its training left out other episodes, or it was made for another version of these rules.
    """
    kept = kept or {}
    if protocol.split == "test" and kept.get("split", "test") != "test":
        raise BadFile(f"{model} kept its {kept['split']} episodes for evaluation, {protocol.name} wants test episodes")
    made_for = kept.get("versions", {}).get(protocol.name, protocol.version)
    if made_for != protocol.version:
        raise BadFile(
            f"{model} was made for version {made_for} of the protocol {protocol.name}, this package has version "
            f"{protocol.version}: train it again, or install the package it was made with"
        )


def require_possible(protocol: Protocol, task: Any, env: str) -> None:
    """Refuse rules that a task cannot be judged by.

    Raises:
        BadValue: no official goals, or nothing of the world to vary.
    """
    if protocol.goals == "official" and not hasattr(task, "official_steps"):
        raise BadValue(f"protocol {protocol.name}: {env} has no official goals; ogbench/... tasks have")
    if protocol.variation and not task.factors:
        raise BadValue(f"protocol {protocol.name}: nothing of {env} can be varied")


def _folder() -> Any:
    return files("worldmodel") / "protocols"
