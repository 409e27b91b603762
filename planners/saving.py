"""Agents in folders: a model folder with an ``agent.json`` beside. Nothing in them is ever executed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from worldmodel.checkpoint import load_model, save_model
from worldmodel.errors import BadFile, BadValue
from worldmodel.files import read_json, replacing, write_json
from worldmodel.planners.actions import Actions, actions_of
from worldmodel.planners.options import make_agent
from worldmodel.planners.settings import configured

if TYPE_CHECKING:
    from worldmodel.planners.agent import Agent

SETTLING = {"controller", "objective", "planner"}  # they decide what the defaults of others are
FORMAT = 2  # raised when a folder written today could not be read by yesterday's code
FILE = "agent.json"


def save_agent(path: str | Path, agent: Agent) -> None:
    """Write model, options, actions and goal; whole or not at all.

    Raises:
        BadValue: the objective or the proposal is the user's own, which no file can hold.
        BadFile: something else than an agent stands there, which would be replaced.
    """
    folder = Path(path)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / FILE).is_file():
        raise BadFile(f"{path} holds something else than an agent; choose a new folder")
    for name, own in (("objective", agent.own_objective), ("proposal", agent.proposal)):
        if own is not None:
            raise BadValue(
                f"{name}: one of your own cannot be saved; save an agent without it, and after loading give the "
                f"{name} to agent.model.agent(env, {name}=...)"
            )
    actions, goal, options = agent.actions, agent.goal, {**asdict(agent.config), **asdict(agent.planner.config)}
    about = {
        "format": FORMAT,
        "options": options,
        "asked": [name for name in agent.asked if name in options],
        "actions": {**asdict(actions), "low": actions.low.tolist(), "high": actions.high.tolist()},
        "goal": None if goal is None else goal.tolist(),  # float32 numbers, which decimals hold exactly
    }
    with replacing(path) as temporary:
        save_model(temporary, agent.model, **{"env": agent.model.config.env, **agent.model.about, "precision": "fp32"})
        write_json(temporary / FILE, about)


def load_agent(
    path: str | Path, env: Any = None, device: str | torch.device = "cpu", goal: Any = None, **options: Any
) -> Agent:
    """Load what ``save_agent`` wrote.

    Args:
        path: the folder.
        env: what to act in; None for the actions that were saved.
        device: where to put the model.
        goal: takes the place of the saved one.
        options: take the place of those that were saved. With another planner, controller or objective the others are
            those that were asked for when the saved agent was made, and the defaults.

    Raises:
        BadFile: the folder is missing, damaged or holds no agent.
        BadValue: an environment of other actions, or a ``deadline_ms`` that this machine is too slow for.
    """
    file = Path(path) / FILE
    if not file.is_file():
        raise BadFile(f"{path} holds no agent ({FILE}); a model alone is loaded by worldmodel.load")
    model, about = load_model(path, device), read_json(file)
    if not isinstance(about, dict) or not isinstance(about.get("format"), int) or about["format"] > FORMAT:
        raise BadFile(f"{file} does not describe an agent, or one of a newer version: upgrade worldmodel")
    try:
        actions = _actions(about["actions"], model.config.action_dim) if env is None else actions_of(model, env)
        if goal is None and about["goal"] is not None:
            goal = {"latent": about["goal"]}
        saved: dict[str, Any] = about["options"]
        configured(saved)
        asked = [*about.get("asked", saved)]
        if SETTLING & options.keys():
            saved = {name: saved[name] for name in asked}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadFile(f"{file} is damaged: {type(error).__name__} {error}") from error
    agent = make_agent(model, env, goal=goal, actions=actions, **saved | options)
    agent.asked = tuple(dict.fromkeys([*asked, *options]))  # of what was saved, most was settled
    return agent


def _actions(saved: dict[str, Any], width: int) -> Actions:
    low, high = (np.array(saved[name], np.float32).reshape(width) for name in ("low", "high"))
    return Actions(low=low, high=high, shape=tuple(saved["shape"]), first=saved["first"])
