"""One HTML page about one or several models: it needs no network, no server and no other file.

The verdict comes first, then success beside what it is to be compared with, rollouts to watch, the diagnoses, and how
to repeat all of it. What was not measured is not there, and the page ends with the commands that would add it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from worldmodel.benchmarks.markup import Html, tag
from worldmodel.benchmarks.page_diagnoses import geometry, openloop, probes, surprise
from worldmodel.benchmarks.page_films import films
from worldmodel.benchmarks.page_repeat import missing, repeat
from worldmodel.benchmarks.page_runs import Run, read_runs
from worldmodel.benchmarks.page_style import CSS, SCRIPT
from worldmodel.benchmarks.page_success import side_by_side, success
from worldmodel.benchmarks.page_verdict import headline, verdicts
from worldmodel.files import replacing

Part = Callable[[Sequence[Run]], Html | None]
PARTS: tuple[tuple[str, str, str, Part], ...] = (  # address, title, what to know, what makes it
    (
        "success",
        "Success",
        "Beside what needs no model, and what a perfect one would allow. Intervals: Wilson 95 % over pairs.",
        success,
    ),
    (
        "paired",
        "Side by side",
        "Of pairs that both played, those that only one solved tell them apart. Intervals: bootstrap 95 %.",
        side_by_side,
    ),
    ("rollouts", "Rollouts", "Failures first.", films),
    (
        "openloop",
        "Open-loop error",
        "Predictors follow recorded actions, in one latent space. Bands: bootstrap 95 % over episodes.",
        openloop,
    ),
    (
        "probes",
        "What the latent knows",
        "The state, read from the latent, raw pixels and an untrained encoder. R² is 1 if exact, 0 for the mean. "
        "Intervals of the mean: bootstrap 95 % over episodes.",
        probes,
    ),
    (
        "surprise",
        "Violation of expectation",
        "The same clips three times; a change stands out where surprise exceeds 95 % of the unchanged clips’. "
        "Intervals: bootstrap 95 % over episodes; p: Wilcoxon’s signed-rank test, by clip.",
        surprise,
    ),
    (
        "geometry",
        "Latent space",
        "Planning follows distances in it. Intervals: bootstrap 95 % over episodes.",
        geometry,
    ),
    (
        "repeat",
        "How it was measured",
        "The recorded commands, the rules, and with what. p-values anywhere are not corrected for their number.",
        repeat,
    ),
    ("missing", "Not measured", "Each of these commands adds a part.", missing),
)


def write_page(
    path: str | Path, folders: Sequence[str | Path], progress: Callable[[int, int], object] | None = None
) -> Path:
    """Write the page about run folders, whole or not at all.

    Args:
        path: of the page.
        folders: of the runs.
        progress: called with the parts that are made and how many there are.

    Raises:
        BadFile: a folder does not exist or holds nothing to report, or the page cannot be written.
    """
    page = render(read_runs([Path(folder) for folder in folders]), progress)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(path)


def render(runs: Sequence[Run], progress: Callable[[int, int], object] | None = None) -> str:
    """Return the page."""
    parts = []
    for done, (name, called, known, make) in enumerate(PARTS):
        if progress:
            progress(done, len(PARTS))
        if (part := make(runs)) is not None:
            parts.append((name, called, known, part))
    title, tasks = headline(runs), " · ".join(dict.fromkeys(run.env for run in runs))
    links = (tag("a", called, href=f"#{name}") for name, called, _, _ in parts)
    sections = (
        tag(
            "section",
            tag("h2", called),
            tag("p", known.replace(" %", "\N{NO-BREAK SPACE}%"), class_="lead"),
            part,
            id=name,
        )
        for name, called, known, part in parts
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("link", rel="icon", href="data:,"),  # so that no browser asks for one
        tag("title", title),
        tag("style", Html(CSS)),
    )
    top = tag(
        "header", tag("p", f"world model report · {tasks}", class_="kicker"), tag("h1", title), tag("nav", *links)
    )
    end = tag("footer", "Written by worldmodel. Everything on this page is in this one file.")
    body = tag("body", top, tag("main", verdicts(runs), *sections), end, tag("script", Html(SCRIPT)))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"
