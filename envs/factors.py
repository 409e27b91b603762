"""Factors of variation: properties of a task's world that an episode may change, to see what a policy is robust to.

A task names its factors, such as ``block.colour``, in a table. All are off by default; `reset` chooses them with
``options={"variation": request}``, where a request is one of

- ``"all"``, or names separated by commas; a word of some names stands for all of them, as ``block`` or ``colour``,
- a list of such names,
- a mapping of whole names to values; the others keep their defaults.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldmodel.errors import BadValue, UnknownName

Array = np.ndarray
CONTRAST = 120.0  # distance in RGB, 0 to 255 each, that colours drawn together keep at least


@dataclass(frozen=True)
class Factor:
    """One property of the world.

    Args:
        default: value of the unvaried world, a number or several.
        low: least value, of each number.
        high: largest value.
        whole: only whole numbers, such as the number of a shape in a list.
    """

    default: float | tuple[float, ...]
    low: float
    high: float
    whole: bool = False

    def draw(self, rng: np.random.Generator) -> Array:
        """Draw a value uniformly."""
        shape = np.shape(self.default)
        if self.whole:
            return rng.integers(int(self.low), int(self.high), shape, endpoint=True).astype(np.float64)
        return np.asarray(rng.uniform(self.low, self.high, shape))

    def check(self, name: str, value: Any) -> Array:
        """Return a value as an array. Raises BadValue for a wrong shape or one out of range."""
        try:
            array = np.array(value, np.float64)
        except (TypeError, ValueError):
            array = np.empty((0, 0))
        inside = bool(((array >= self.low) & (array <= self.high)).all())  # NaN is not
        if array.shape != np.shape(self.default) or not inside or (self.whole and (array % 1).any()):
            count = int(np.prod(np.shape(self.default)))
            what = ("a whole number" if self.whole else "a number") if count == 1 else f"{count} numbers"
            raise BadValue(f"variation: {name} must be {what} from {self.low:g} to {self.high:g}, not {value!r}")
        return array


def colour(red: float, green: float, blue: float) -> Factor:
    """Return the factor of a colour, RGB from 0 to 255, given its default."""
    return Factor((red, green, blue), 0.0, 255.0)


def resolve(factors: Mapping[str, Factor], request: Any, rng: np.random.Generator) -> dict[str, Array]:
    """Return the value of every factor, in the order of the table; numbers are 0-d arrays, none can be written to.

    Args:
        factors: the table.
        request: see the top of this file; None and ``""`` leave everything at its default.
        rng: draws what is asked for by name, uniformly; a colour again until it can be told from the other colours.

    Raises:
        BadValue: no such factor, or a value out of range or of the wrong shape.
    """
    given: dict[str, Array] = {}
    drawn: Collection[str] = ()
    if isinstance(request, Mapping):
        for name, value in request.items():
            if name not in factors:
                raise _unknown(name, factors)
            given[name] = factors[name].check(name, value)
    elif request is not None and request != "":
        drawn = chosen(factors, request)
    values = {name: np.array(f.default, np.float64) for name, f in factors.items() if name not in drawn} | given
    for name in drawn:
        colours = [value for other, value in values.items() if other.endswith("colour") and name.endswith("colour")]
        values[name] = factors[name].draw(rng)
        while any(float(np.linalg.norm(values[name] - other)) < CONTRAST for other in colours):
            values[name] = factors[name].draw(rng)
    for value in values.values():
        value.setflags(write=False)
    return {name: values[name] for name in factors}


def changed(factors: Mapping[str, Factor], values: Mapping[str, Array], name: str, rng: np.random.Generator) -> Array:
    """Draw another value of a factor, one that can be told from its present one; a colour from all present ones.

    Args:
        factors: the table.
        values: present value of every factor.
        name: which factor.
        rng: draws uniformly, until the value is CONTRAST / 255 of the factor's range away.
    """
    factor, others = factors[name], [values[name]]
    if name.endswith("colour"):
        others = [value for other, value in values.items() if other.endswith("colour")]
    apart = CONTRAST / 255.0 * (factor.high - factor.low)
    while True:
        value = factor.draw(rng)
        if all(float(np.linalg.norm(value - other)) >= apart for other in others):
            return value


def chosen(factors: Mapping[str, Factor], request: str | Iterable[str]) -> list[str]:
    """Return the names that a request by name stands for, in the order of the table.

    Raises:
        BadValue: no such factor, or not names.
    """
    names = [name.strip() for name in request.split(",")] if isinstance(request, str) else request
    if not isinstance(names, Collection) or not names or not all(isinstance(name, str) for name in names):
        raise BadValue(f"variation: expected 'all', names of factors or a mapping of names to values, not {request!r}")
    if not factors:
        raise BadValue("variation: this environment has no factors of variation")
    words = {name: {"all", name, *name.split(".")} for name in factors}
    for name in names:
        if not any(name in known for known in words.values()):
            raise _unknown(name, {"all", *factors})
    return [name for name, known in words.items() if known & set(names)]


def _unknown(name: Any, choices: Iterable[str]) -> BadValue:
    return BadValue(f"variation: {UnknownName('factor', str(name), choices)}")


def column(name: str) -> str:
    """Return the name of a factor's column in a dataset: ``block.colour`` -> ``variation_block_colour``."""
    return "variation_" + name.replace(".", "_")
