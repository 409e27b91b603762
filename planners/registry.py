"""The planners there are. A new one is one file and one line here; the contract suite in tests/ then covers it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from worldmodel.errors import UnknownName

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
    if name not in PLANNERS:
        raise UnknownName("planner", name, PLANNERS)
    module, _, attribute = PLANNERS[name].partition(":")
    return getattr(import_module(module), attribute)
