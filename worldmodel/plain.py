"""Configs as plain dictionaries and back: what JSON and YAML hold, read strictly."""

from __future__ import annotations

import types
import typing
from contextlib import suppress
from dataclasses import asdict, fields, is_dataclass
from typing import Any, TypeVar

from worldmodel.errors import BadValue, UnknownName

T = TypeVar("T")


def to_dict(config: Any) -> dict[str, Any]:
    """Plain dictionaries of a config, ready for JSON or YAML."""
    return asdict(config)


def flat(config: Any) -> dict[str, Any]:
    """The settings of a config and of those inside it, by their dotted names."""
    found: dict[str, Any] = {}
    for one in fields(config):
        value = getattr(config, one.name)
        inner = {f"{one.name}.{name}": x for name, x in flat(value).items()} if is_dataclass(value) else {}
        found |= inner or {one.name: value}
    return found


def from_dict(cls: type[T], values: Any, where: str = "") -> T:
    """Build a config from plain dictionaries.

    Raises:
        UnknownName: a key the config does not have (the nearest one is suggested).
        BadValue: a value of the wrong type.
    """
    if not isinstance(values, dict):
        raise BadValue(f"{where or cls.__name__}: expected a table of settings, got {values!r}")
    hints = typing.get_type_hints(cls)
    known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise UnknownName(f"setting {where}", str(key), known)
    return cls(**{key: _convert(hints[key], value, f"{where}.{key}".strip(".")) for key, value in values.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None and type(None) in options:
        return None
    kind = options[0]
    if is_dataclass(kind):
        return from_dict(typing.cast(type, kind), value, where)
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise BadValue(f"{where}: expected a list, got {value!r}")
        return tuple(_convert(typing.get_args(kind)[0], item, where) for item in value)
    if kind is float and isinstance(value, str):  # YAML takes 1e-3 for a text
        with suppress(ValueError):
            return float(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise BadValue(f"{where}: expected {kind.__name__}, got {value!r}")
    return value
