"""The planners there are. A new one is one file and one line here; the contract suite in tests/ then covers it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from worldmodel.errors import UnknownName
from worldmodel.planners import config

PLANNERS = {
    "cem": "worldmodel.planners.cem:CEM",
    "icem": "worldmodel.planners.icem:ICEM",
    "mppi": "worldmodel.planners.mppi:MPPI",
    "predictive-sampling": "worldmodel.planners.predictive_sampling:PredictiveSampling",
    "gradient": "worldmodel.planners.gradient:Gradient",
    "cem-gradient": "worldmodel.planners.cem_gradient:CEMGradient",
    "categorical-cem": "worldmodel.planners.categorical_cem:CategoricalCEM",
}


def planner_class(name: str) -> Any:
    """Import a planner: built as ``cls(cls.Config(...), low, high, action_block)``, it solves as ``Planner`` says.

    Raises:
        UnknownName: no such planner.
    """
    module, attribute = _place(name)
    return getattr(import_module(module), attribute)


def config_class(name: str) -> Any:
    """A planner's ``Config``; those in ``planners/config.py``, named after their planners, are had without torch.

    Raises:
        UnknownName: no such planner.
    """
    module, attribute = _place(name)
    ours = module.startswith("worldmodel.planners.") and getattr(config, f"{attribute}Config", None)
    return ours or planner_class(name).Config


def _place(name: str) -> tuple[str, str]:
    if name not in PLANNERS:
        raise UnknownName("planner", name, PLANNERS)
    module, _, attribute = PLANNERS[name].partition(":")
    return module, attribute
