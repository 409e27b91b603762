"""The part of a report to watch: rollouts drawn again from a record's states, beside the goal and what was expected."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from worldmodel.benchmarks.markup import Html, data_uri, join, tag
from worldmodel.benchmarks.page_runs import Run
from worldmodel.benchmarks.record import Record
from worldmodel.benchmarks.report import acting
from worldmodel.benchmarks.video import as_mp4
from worldmodel.datasets.preview import png
from worldmodel.envs import registry
from worldmodel.errors import BadValue, WorldModelError

FAILURES, SUCCESSES = 6, 3  # films of each run, at most
BUDGET = 10_000_000  # bytes of all films and pictures on a page
SIDE = 192  # pixels; pictures are drawn again at this size, whatever the model sees
GAP = 4  # pixels between what happened and what was expected
HOLD = 8  # frames that the last picture stays
WHY = {  # reasons of benchmarks/failures.py
    "wrong model": (
        "Wrong model: it expected to come nearer to the goal than it did, or did not believe that the demonstrator's "
        "actions lead there."
    ),
    "search not converged": "Search not converged: by the model's own measure there was a better plan.",
    "looks solved": "Looks solved: to the model this is the goal.",
    "did not stay": "Did not stay: the goal was accomplished on the way, but not after the last step.",
    "budget": "Budget: the model was right and the search was good, but the steps allowed did not do.",
}


@dataclass(frozen=True, kw_only=True)
class Film:
    """One rollout to watch."""

    row: int  # of the pair
    frames: np.ndarray  # (t + 1, SIDE, SIDE, 3) uint8
    goal: np.ndarray  # (SIDE, SIDE, 3) uint8
    expected: np.ndarray | None = None  # like frames: what the model expected of each moment
    by: str = ""  # how that became pictures


def films(runs: Sequence[Run], budget: int = BUDGET) -> Html | None:
    """Failures first, then successes, of each run's main evaluation, as far as the budget goes.

    Args:
        runs: whose rollouts to show; those later in the list may use what the earlier ones left.
        budget: bytes on the page.
    """
    parts: list[Html] = []
    for i, run in enumerate(runs):
        if run.main is not None:
            part, spent = _of_run(run, run.main, budget // (len(runs) - i))
            budget -= spent
            parts.append(part)
    return join(parts) if parts else None


def choose(success: np.ndarray, reasons: Sequence[str | None] = ()) -> list[int]:
    """Rows to show: failures first, of every reason in turn, then successes, each spread evenly over the pairs."""
    kinds: dict[str | None, list[int]] = {}
    for row in np.flatnonzero(~success).tolist():
        kinds.setdefault(reasons[row] if reasons else None, []).append(row)
    turns = itertools.zip_longest(*(_spread(rows, FAILURES) for rows in kinds.values()))
    failures = [row for turn in turns for row in turn if row is not None][:FAILURES]
    return failures + _spread(np.flatnonzero(success).tolist(), SUCCESSES)


def _spread(rows: Sequence[int], most: int) -> list[int]:
    """So many of the rows at most, spread evenly."""
    return [rows[i] for i in np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int))]


def _of_run(run: Run, main: str, budget: int) -> tuple[Html, int]:
    record = run.records[main]
    reasons = _reasons(run, main)
    v, chosen = record.values, choose(record.outcome.success, reasons)
    head = tag("h3", f"{run.name}: {v['protocol']['name']}, {acting(v)}")
    cards, spent, by = [], 0, ""
    try:
        with closing(registry.make(v["env"], image_size=SIDE, render_preset=v["render_preset"])) as env:
            if not env.unwrapped.restorable:
                raise BadValue(f"{v['env']} cannot be put into a recorded state")
            for film in drawn(env.unwrapped, run, record, chosen):
                card = _card(record, film, reasons[film.row] if reasons else None)
                if spent + len(card) > budget:
                    break
                spent += len(card)
                cards.append(card)
                by = film.by
    except WorldModelError as error:
        return join((head, tag("p", f"Nothing can be drawn again here: {error}.", class_="note"))), 0
    failed = int((~record.outcome.success).sum())
    said = f"{failed} of {len(record.pairs)} pairs failed. Shown are {len(cards)}, failures first, 10 steps a second."
    if by:
        said += f" What the model expected, after every model step, became a picture as: {by}."
    elif not run.current(v):
        said += " What was expected is not shown: the model has other weights now."
    if len(cards) < len(chosen):
        said += f" {len(chosen) - len(cards)} more are left out: films have {budget / 1e6:.1f} MB here."
    return join((head, tag("p", said, class_="note"), tag("div", *cards, class_="films"))), spent


def _reasons(run: Run, main: str) -> Sequence[str | None]:
    """Why pairs failed, if just this evaluation was examined."""
    record, found = run.records[main], run.found.get("geometry", {}).get("executed", {}).get(main, {})
    same = found.get("manifest") == {"sha256": record.values["manifest"]["sha256"]} and run.current(record.values)
    same = same and found.get("n_failed") == int((~record.outcome.success).sum())
    return found["reasons"] if same else ()


def drawn(task: Any, run: Run, record: Record, rows: Sequence[int]) -> Iterator[Film]:
    """Draw rollouts again, each in the world that it happened in."""
    expected = _expected(run, record, rows)
    for row in rows:
        states = record.outcome.states[row]
        frames = record.pairs.draw(task, row, states[np.isfinite(states).all(axis=1)])
        pictures, by = expected.get(row, (None, ""))
        yield Film(
            row=row,
            frames=frames,
            goal=record.pairs.draw(task, row, record.pairs.goals[row : row + 1])[0],
            expected=pictures,
            by=by,
        )


def _expected(run: Run, record: Record, rows: Sequence[int]) -> Mapping[int, tuple[np.ndarray, str]]:
    """What the model expected to see, by row, and how latents became pictures.

    Nothing where the model is gone or has other weights.
    """
    if not run.current(record.values):
        return {}
    import torch

    from worldmodel.benchmarks.imagined import imagine
    from worldmodel.checkpoint import load_model

    try:
        imagined = imagine(record, load_model(run.folder / "model", torch.device("cpu")), rows)
    except WorldModelError:
        return {}
    return {one.row: (np.stack([_sized(image) for image in one.imagined]), one.by) for one in imagined}


def _sized(image: np.ndarray) -> np.ndarray:
    """A picture in the size of the films, its pixels kept apart."""
    return cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)


def _card(record: Record, film: Film, reason: str | None) -> Html:
    outcome, row = record.outcome, film.row
    reached, steps = bool(outcome.success[row]), int(outcome.steps[row])
    title = f"Reached after {steps} steps" if reached else f"Not reached in {record.values['budget']} steps"
    shown = film.frames
    if film.expected is not None:
        gap = np.full((*shown.shape[:2], GAP, 3), 128, np.uint8)
        shown = np.concatenate([shown, gap, film.expected], axis=2)
    shown = np.concatenate([shown, np.repeat(shown[-1:], HOLD, axis=0)])
    ends = np.concatenate([shown[0], np.full((GAP, *shown.shape[2:]), 128, np.uint8), shown[-1]])
    first, both, goal = (data_uri("image/png", png(image)) for image in (shown[0], ends, film.goal))
    video = tag(
        "video",
        controls=True,
        muted=True,
        loop=True,
        playsinline=True,
        preload="metadata",
        poster=first,
        src=data_uri("video/mp4", as_mp4(shown)),
        width=shown.shape[2],
        height=shown.shape[1],
        class_="screen",
        aria_label=f"Film of pair {row}: {title}",
    )
    still = tag("img", src=both, alt=f"First and last picture of pair {row}", class_="print")
    said = ["what happened"] if film.expected is None else ["what happened", "what was expected"]
    happened = tag("figcaption", *(tag("span", words) for words in said))
    pictures = tag(
        "div",
        tag("figure", video, still, happened, class_="two" if film.expected is not None else None),
        tag("figure", tag("img", src=goal, alt=f"Goal of pair {row}"), tag("figcaption", "the goal")),
        class_="pictures",
    )
    facts = [f"pair {row}", f"episode {record.pairs.episode[row]}"]
    facts += [record.pairs.hard_label] if record.pairs.hard[row] else []
    why = tag("p", WHY.get(reason, reason), class_="why") if reason and not reached else None
    head = tag("h3", f"{'✓' if reached else '✗'} {title}")
    words = tag("div", why, tag("p", ", ".join(facts)))
    return tag("article", head, pictures, words, class_="film reached" if reached else "film")
