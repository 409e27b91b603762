"""``wm-data``: make datasets, look at them, and make others from them; see also data_info.py and data_files.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import tyro

from worldmodel.cli.common import (
    aligned,
    bar,
    default_file,
    move,
    option,
    options_as_fields,
    run,
    short_name,
    subcommands,
)
from worldmodel.cli.data_files import append, merge, preview, split
from worldmodel.cli.data_info import info, list_datasets, show
from worldmodel.errors import BadValue, UnknownName


def collect(
    env: str = "pusht",
    episodes: int | None = None,
    steps: int = 200,
    seed: int = 0,
    image_size: int = 64,
    render_preset: str = "fast",
    variation: str = "",
    workers: int = 0,
    out: str = "",
) -> None:
    """Collect episodes; after an interruption the same command goes on where it stopped.

    Args:
        env: Task, such as pusht, dmc/reacher-qpos, ogbench/cube-single or gym/Pendulum-v1.
        episodes: How many; 90 % train, 5 % validation, 5 % test [default: 1000; 200 of OGBench's arm, slow to draw].
        steps: Environment steps in each.
        seed: Of the whole collection; the number of workers does not matter.
        image_size: Side of the square pictures, pixels.
        render_preset: Look of MuJoCo's pictures: fast, or official as published, many times slower.
        variation: What changes from episode to episode: all, or factors such as agent.colour,block [default: nothing].
        workers: Processes [default: all cores].
        out: File to make [default: data/<env>.h5].
    """
    from worldmodel.datasets.store import EpisodeStore

    with option("--env"):
        env = short_name(env)
    if workers < 0:
        raise BadValue(f"--workers: expected 1 or more, or 0 for all cores, got {workers}")
    path = Path(out) if out else default_file(env)
    if path.exists():
        print(f"{path} is already there")
    options = dict(steps=steps, seed=seed, image_size=image_size, workers=workers or None)
    collect_with_bar(env, path, episodes, render_preset=render_preset, variation=variation, **options)
    with EpisodeStore(path) as store:
        show(store)


def envs(name: Annotated[str, tyro.conf.Positional] = "") -> None:
    """List the environments.

    Args:
        name: Only those whose name contains this.
    """
    from worldmodel.datasets.policies import behaviours
    from worldmodel.envs.registry import names

    found = [known for known in names() if name in known]
    if not found:
        raise UnknownName("environment", name, names(), "what wm-data envs lists")
    rows = [(known, ", ".join(kind.name for kind in behaviours(known))) for known in found]
    print(aligned([("environment", "collected by"), *rows]))
    print("and gym/<id>, whatever Gymnasium can make, collected by uniform, smooth")


def verify(path: Annotated[str, tyro.conf.Positional]) -> None:
    """Read a whole dataset; if something is wrong, name the first episode and column.

    Args:
        path: The dataset.
    """
    from worldmodel.datasets.verify import verify

    with bar(None, "episodes", "reading") as line, verify(path, lambda done, total: move(line, done, total)) as store:
        text = f"{path} is sound: {len(store)} episodes, {store.rows} rows, {len(store.columns)} columns"
    print(text)


def convert(
    source: Annotated[str, tyro.conf.Positional],
    out: str,
    format: str | None = None,
    env: str | None = None,
    image_size: int | None = None,
    camera: str | None = None,
    seed: int | None = None,
    redraw: bool = False,
) -> None:
    """Make a dataset from one of another format: swm, ogbench, minari, lerobot, npz, or worldmodel (our own).

    Args:
        source: File, folder, or id of a Minari dataset.
        out: File to make.
        format: Of the source [default: found out from its content].
        env: Task, such as pusht [default: what the source says].
        image_size: Side of the square pictures, pixels; others are padded with black [default: as they are].
        camera: Which pictures of a LeRobot dataset [default: its first].
        seed: Of a new split [default: the source's own split, or that of seed 0].
        redraw: Draw the states anew as wm-data collect does, instead of taking the source's pictures.
    """
    from worldmodel.datasets.convert import convert
    from worldmodel.datasets.store import EpisodeStore

    with options_as_fields(), bar(None, "episodes", "converting") as line:
        convert(
            source, out, format=format, env=env, image_size=image_size, camera=camera, seed=seed, redraw=redraw,
            progress=lambda done, total: move(line, done, total),
        )  # fmt: skip
    with EpisodeStore(out) as store:
        show(store)


def collect_with_bar(env: str, path: Path, episodes: int | None = None, **options: Any) -> None:
    """Collect with a progress bar, and say so when episodes of an earlier run were found.

    Args:
        env: environment name.
        path: the dataset to make.
        episodes: how many; the usual number of the environment by default.
        options: further arguments of `worldmodel.datasets.collect.collect`.
    """
    from worldmodel.datasets import collect as library
    from worldmodel.datasets.policies import usual_episodes

    first = True
    with options_as_fields(), bar(None, "episodes", f"collecting {env}") as line:

        def progress(done: int, total: int) -> None:
            nonlocal first
            if first and done:
                print(f"going on: {done} of {total} episodes were found in {library.parts_folder(path)}", flush=True)
            first = False
            move(line, done, total)

        number = usual_episodes(env) if episodes is None else episodes
        library.collect(env, path, number, progress=progress, **options)


def main() -> None:
    """Entry point of ``wm-data``."""
    commands = {
        "envs": envs, "collect": collect, "convert": convert, "list": list_datasets, "info": info, "preview": preview,
        "verify": verify, "merge": merge, "append": append, "split": split,
    }  # fmt: skip
    run(lambda: subcommands(commands, "Make datasets, and look at them."))


if __name__ == "__main__":
    main()
