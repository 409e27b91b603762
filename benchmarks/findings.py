"""What the diagnostics of a model say of it, in plain words.

Every threshold is relative to a control that was measured beside it: copying the last latent, a random encoder, raw
pixels, other windows' actions. What was not measured is not spoken of.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from worldmodel.diagnostics import action_warning, collapsed

Values = Mapping[str, Any]
Diagnostics = Mapping[str, Values]  # openloop, geometry, probe, surprise: what wm-bench wrote; any may be missing

# Share of what a random encoder leaves unread that a trained one may leave. Six random encoders that differ by their
# seed (TwoRoom, tiny CNN) left 0.5 to 2.0 times as much as each other; trained ones 0.01 to 0.2 (TwoRoom, PushT).
READS = 1 / 3
# Of R^2, by which a latent must read a number worse than a control to leave it out; or above the mean's, which is 0.
LEFT_OUT = 0.1
# Squared error over copying's at the best horizon. The best models trained here have 0.007 (TwoRoom); a latent that is
# the state, read to 0.05 px, under the environment's own rule, has 0.0000001, and 0.013 where it often passes a door's
# corner.
PERFECT, CLOSE = 1e-3, 0.05
# A standard deviation over that of a random encoder's latents on the same frames, either way, that random weights may
# have. Six that differ by their seed (TwoRoom, tiny CNN) had 0.002 to 0.008; one collapsed in training 0.013.
ALIKE = 5
MISLEADS = "distance misleads"


@dataclass(frozen=True)
class Finding:
    """One thing to know."""

    name: str
    severity: str  # good, warning or bad
    sentence: str  # with its numbers
    advice: str = ""  # what to do about it


def kind(diagnostics: Diagnostics, horizon: int | None = None) -> Finding | None:
    """What kind of model it is: the first of the possible causes that holds, as the others follow from it.

    Args:
        diagnostics: what was measured.
        horizon: model steps that plans look ahead, at which predictions are judged; by default the longest measured
            one that a predictor of the model does in one jump.
    """
    openloop, geometry = diagnostics.get("openloop"), diagnostics.get("geometry")
    predicts = _predicts(openloop, horizon) if openloop else None
    if predicts and predicts.name == "near-perfect":
        return predicts
    unread = unread_share(diagnostics["probe"]) if "probe" in diagnostics else None
    if unread is not None and unread <= READS:
        return predicts
    reads = "" if unread is None else f"probes of its latent leave {_times(unread)} what a random encoder leaves unread"
    warning = collapsed(geometry["std"], geometry["effective_rank"]) if geometry else None
    if geometry and warning and not _as_random(geometry):
        return _warned("collapsed", warning, reads)
    if openloop and unread is not None and not _beats_copying(openloop):
        return Finding(
            "untrained",
            "bad",
            f"The model does nothing that random weights would not do: {reads}, and the squared error of its "
            f"predictions is at least {_times(_least(openloop))} that of copying the last latent.",
            "Train it; if it was trained, look at its loss and its learning rate.",
        )
    return _warned("collapsed", warning, reads) if warning else predicts


def right(finding: Finding | None) -> bool:
    """Whether a model's predictions can be planned with."""
    return finding is not None and finding.name in ("predicts", "near-perfect")


def _as_random(geometry: Values) -> bool:
    """Whether the latents spread as much as those of random weights: not squeezed by training, but never spread."""
    own, random = geometry["std"], geometry.get("random_std")
    return random is not None and random / ALIKE < own < random * ALIKE


def _predicts(openloop: Values, horizon: int | None) -> Finding:
    found = openloop["predictors"]
    if not _beats_copying(openloop):
        return Finding(
            "no better than copying",
            "bad",
            f"Nothing predicts better than copying the last latent, at any horizon: the squared error of predictions "
            f"is at least {_times(_least(openloop))} as large.",
            "Train longer: plans by this model are noise.",
        )
    errors = {name: values["over_copy"] for name, values in found.items()}
    warnings = [
        action_warning(name, torch.tensor(errors[name]), torch.tensor(values["sensitivity"]))
        for name, values in found.items()
    ]
    if ignored := [warning for warning in warnings if warning]:
        whole = len(ignored) == len(found)
        return _warned("ignores the actions" if whole else "one predictor ignores the actions", ignored[0])
    best = min(errors, key=lambda name: min(errors[name]))
    if min(errors[best]) < PERFECT and max(errors[best]) < CLOSE:
        near = min(range(len(errors[best])), key=errors[best].__getitem__)
        return Finding(
            "near-perfect",
            "good",
            f"As a simulator would: the {best} predictor's squared error is {errors[best][near]:.1g} of copying's at "
            f"{_ahead(openloop, near)}, and {max(errors[best]):.1g} at most.",
            "Make sure that nothing tells it the state: no model trained here from pixels alone came close.",
        )
    at = nearest_horizon(openloop, horizon or _in_one_jump(openloop))
    best = min(errors, key=lambda name: errors[name][at])
    said = f"the {best} predictor's squared error is {errors[best][at]:.2f} of copying's at {_ahead(openloop, at)}"
    if not _surely(found[best], at):
        near = min(range(len(errors[best])), key=errors[best].__getitem__)
        return Finding(
            "predicts too short a time",
            "warning",
            f"As far ahead as plans look {said}; at {_ahead(openloop, near)} it is {errors[best][near]:.2f}.",
            f"Plan less far (--horizon {openloop['horizons'][near]}), or train longer.",
        )
    furthest = "" if at == len(errors[best]) - 1 else f" and {errors[best][-1]:.2f} at {_ahead(openloop, -1)}"
    return Finding(
        "predicts",
        "good",
        f"{_upper(said)}{furthest}; other windows' actions make it {found[best]['sensitivity'][at]:.1f} times as "
        "large.",
    )


def nearest_horizon(openloop: Values, horizon: int) -> int:
    """Which of the measured horizons is nearest to one, the shorter of two."""
    horizons = openloop["horizons"]
    return min(range(len(horizons)), key=lambda i: (abs(horizons[i] - horizon), i))


def _in_one_jump(openloop: Values) -> int:
    """The longest measured horizon that some predictor does in one jump, as it was trained to."""
    jumps = [found["jumps"] for found in openloop["predictors"].values()]
    return max((h for found in jumps for h, n in zip(openloop["horizons"], found) if n == 1), default=1)


def _ahead(openloop: Values, at: int) -> str:
    h, steps = openloop["horizons"][at], openloop["env_steps"][at]
    return f"{h} model step{'' if h == 1 else 's'} ({steps} environment step{'' if steps == 1 else 's'})"


def _beats_copying(openloop: Values) -> bool:
    """Whether some predictor does somewhere, by the whole of its interval."""
    return any(_surely(found, i) for found in openloop["predictors"].values() for i in range(len(found["high"])))


def _surely(found: Values, at: int) -> bool:
    """Whether a predictor is better than copying by its whole interval; by its mean where there is no interval."""
    high = found["high"][at]
    return bool((found["over_copy"][at] if high is None else high) < 1)


def _least(openloop: Values) -> float:
    return min(min(found["over_copy"]) for found in openloop["predictors"].values())


def unread_share(probe: Values) -> float:
    """Variance that probes of the latent leave unexplained, over what those of a random encoder leave.

    The geometric mean over numbers and both kinds of probes: a number that nobody reads, or everybody, hides no other.
    """
    logs = [
        math.log(_unexplained(own) / _unexplained(random))
        for probes in (probe["linear"], probe["mlp"])
        for own, random in zip(probes["latent"]["r2"], probes["random"]["r2"])
    ]
    return math.exp(sum(logs) / max(1, len(logs)))


def _unexplained(r2: float) -> float:
    return min(max(1 - r2, 1e-4), 2.0)  # finer is noise, and far off is far off


def details(diagnostics: Diagnostics) -> Iterator[Finding]:
    """What a model that works at all is missing."""
    if probe := diagnostics.get("probe"):
        yield from _left_out(probe)
    if ranks := diagnostics.get("geometry", {}).get("rank_correlation"):
        yield from _misleads(ranks)
    if surprise := diagnostics.get("surprise"):
        yield from _overlooks(surprise)


def _misleads(ranks: Values) -> Iterator[Finding]:
    """Against the task's own distance, which is not perfect either: there are walls."""
    own, high = ranks.get("task_distance", ranks), ranks["high"]
    if own["mean"] is None:  # nothing moved by the task's own measure
        own = ranks
    if high is not None and (ranks["low"] <= 0 or high < own["mean"] / 2):
        yield Finding(
            MISLEADS,
            "warning",
            f"Latents nearer to the goal's are hardly fewer steps away from it: rank correlation {ranks['mean']:.2f} "
            f"({ranks['low']:.2f} to {high:.2f}); that of the task's own distance is {own['mean']:.2f}.",
            "The search follows this distance: try another metric, or a probe of the state as the objective.",
        )


def _overlooks(surprise: Values) -> Iterator[Finding]:
    """Against the same clips without the change."""
    found = {name: versions["teleport"] for name, versions in surprise["predictors"].items()}
    if all(teleport["low"] is not None and teleport["low"] <= 0 for teleport in found.values()):
        said = ", ".join(
            f"{name} {teleport['difference']:+.3f} ({teleport['low']:+.3f} to {teleport['high']:+.3f})"
            for name, teleport in found.items()
        )
        yield Finding(
            "overlooks jumps",
            "warning",
            f"Things that are suddenly elsewhere surprise the model no more than what really happened: {said}.",
            "Its predictions are too rough to tell: see the open-loop error at one model step.",
        )


def _left_out(probe: Values) -> Iterator[Finding]:
    own, pixels, random = (
        [max(r2) for r2 in zip(probe["linear"][of]["r2"], probe["mlp"][of]["r2"])]
        for of in ("latent", "pixels", "random")
    )
    controls = [max(r2) for r2 in zip(pixels, random)]
    lost = [
        f"{name} ({r2:.2f}; {control:.2f})"
        for name, r2, control in zip(probe["numbers"], own, controls)
        if r2 < max(control, 2 * LEFT_OUT) - LEFT_OUT  # worse than a control, or hardly better than the mean
    ]
    if lost:
        yield Finding(
            "leaves out",
            "warning",
            f"The latent says too little of {', '.join(lost)} (R^2 of the latent; of raw pixels or a random encoder).",
            "Plans cannot steer what a latent does not hold: train longer or on more episodes, or widen the latent. A "
            "velocity is not in one picture.",
        )


def _warned(name: str, warning: str, also: str = "") -> Finding:
    """A finding from a warning of worldmodel/diagnostics.py, which reads ``what (numbers): advice``."""
    what, advice = warning.split("): ", 1)
    return Finding(name, "bad", f"{_upper(what)}){f'; {also}' if also else ''}.", f"{_upper(advice)}.")


def _times(ratio: float) -> str:
    return f"{ratio:.2f} times" if ratio < 10 else f"{ratio:.0f} times"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
