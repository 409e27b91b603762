"""Plain options and texts, sorted and checked without torch, so that a typing error is answered at once."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import fields
from math import inf
from numbers import Integral, Real
from typing import Any

from worldmodel.errors import BadValue, UnknownName
from worldmodel.planners.config import AgentConfig, SearchConfig
from worldmodel.planners.registry import config_class

KINDS = {"int", "float", "bool", "str", "None", "tuple[int, ...]"}  # others, of somebody's own planner, are its matter
# Defaults of a search from the reflex's plan: it stays near, since far away it finds what the model is wrong about.
SMALL = {"init_std": 0.3}
NEAR = {
    "cem": {**SMALL, "iterations": 3, "candidates": 100},
    **dict.fromkeys(("icem", "mppi", "predictive-sampling", "gradient", "cem-gradient"), SMALL),
}
WORDS = {"true": True, "yes": True, "false": False, "no": False, "none": None, "null": None}


def kinds(planner: str) -> dict[str, str]:
    """Options of an agent with this planner, and the type that each is annotated with.

    Raises:
        UnknownName: no such planner.
    """
    both = (*fields(AgentConfig), *fields(config_class(planner)))
    return {f.name: f.type if isinstance(f.type, str) else getattr(f.type, "__name__", "any") for f in both}


def configured(options: Mapping[str, Any], near: bool = False) -> tuple[AgentConfig, SearchConfig]:
    """Sort options into the agent's settings and those of its planner, checking both.

    Args:
        options: what is not the default.
        near: whether the search starts from the reflex's plan, for which the defaults are others.

    Raises:
        UnknownName: an option or a planner that does not exist.
        BadValue: a value of another type or outside its range.
    """
    planner = typed("planner", "str", options.get("planner", AgentConfig.planner))
    own, known = config_class(planner), kinds(planner)
    for name in options:
        if name not in known:
            raise UnknownName(f"option of {own.__name__.removesuffix('Config')}", name, known)
    values = {name: typed(name, known[name], value) for name, value in options.items()}
    names = [{f.name for f in fields(kind)} for kind in (AgentConfig, own)]
    agent, search = ({name: value for name, value in values.items() if name in mine} for mine in names)
    usual = dict(NEAR.get(planner, {}) if near else {})
    if search.get("elites", 0) > usual.get("candidates", inf):
        del usual["candidates"]
    return AgentConfig(**agent), own(**{**usual, **search})


def typed(name: str, kind: str, value: Any) -> Any:
    """Return a value as the type that its field is annotated with; an int is a float, a bool is not an int.

    Raises:
        BadValue: it is of another type.
    """
    if not KINDS.issuperset(kind.split(" | ")) or (value is None and "None" in kind):
        return value
    if kind.startswith("tuple") and isinstance(value, list | tuple) and all(map(_is_int, value)):
        return tuple(map(int, value))
    if "int" in kind.split(" | ") and _is_int(value):
        return int(value)
    if "float" in kind and isinstance(value, Real) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            pass
    if (kind == "bool" and isinstance(value, bool)) or (kind == "str" and isinstance(value, str)):
        return value
    raise BadValue(f"{name}: expected {kind}, got {value!r}")


def require_arguments(name: str, function: Any, arguments: str) -> None:
    """Raise ``BadValue`` unless a function can be called with so many, such as ``"latents, actions"``."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some that are not written in Python do not tell
        return
    try:
        signature.bind(*arguments.split(", "))
    except TypeError as error:
        raise BadValue(f"{name}: expected a function of ({arguments}), {error}") from error


def _is_int(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def parsed(texts: Iterable[str], planner: str, flags: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Read options of an agent with this planner from texts such as ``elites=20`` or ``arrivals=5,8``.

    Args:
        texts: what was typed.
        planner: its name.
        flags: options that are not to be given here, and what gives them instead, such as ``--horizon``.

    Raises:
        UnknownName: an option that neither the agent nor its planner has.
        BadValue: a text without ``=``, an option among ``flags``, or a value of another type than the option's.
    """
    known, flags = kinds(planner), flags or {}
    options: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise BadValue(f"{text!r}: expected NAME=VALUE, such as iterations=30")
        if name in flags:
            raise BadValue(f"{name} has an option of its own, use {flags[name]}")
        if name not in known:
            raise UnknownName(f"option of the planner {planner}", name, known)
        options[name] = _value(name, known[name], value)
    return options


def _value(name: str, kind: str, text: str) -> Any:
    """One value of the type that a field is annotated with."""
    if kind == "str":
        return text
    if kind.startswith("tuple"):
        return tuple(_value(name, "int", part) for part in text.split(",") if part)
    try:
        if text.lower() in WORDS:
            return typed(name, kind, WORDS[text.lower()])
        return float(text) if "float" in kind else typed(name, kind, int(text))
    except (ValueError, BadValue):
        raise BadValue(f"{name}: expected {kind}, got {text!r}") from None
