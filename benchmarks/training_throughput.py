"""Frames per second of a LeWM training step: ours and stable-worldmodel's, side by side in one run.

Run it as ``python -m worldmodel.benchmarks.training_throughput --peer PYTHON``, where PYTHON is the interpreter of an
environment which has stable-worldmodel; without it only ours is measured.

Both sides train the same sizes of recipe ``lewm`` (windows of 4 frames, context 3, a ViT because the peer has no CNN,
1024 projections) with equal numbers of parameters, in processes of their own, one after another, in turns. In a process
the step is timed on a batch that stays in memory, then with a batch of its own loader each time: ours decoded once and
mapped into memory, the peer's from an uncompressed file in its own layout, both in the page cache. The median step of a
process counts, and of the rounds the median; a ratio is taken within a round. On a processor ratios are of CPU-seconds,
which move less than seconds when others use the machine too; on an accelerator they are of seconds.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from worldmodel.benchmarks import loading, training_throughput_peer
from worldmodel.cli import common
from worldmodel.config import EncoderConfig, ModelConfig, TrainConfig
from worldmodel.errors import BadValue, UnknownName
from worldmodel.files import write_json
from worldmodel.plain import to_dict
from worldmodel.recipes import PRESETS, settings
from worldmodel.run import RunConfig

DEFAULT = "wm/nano"  # our default recipe and preset, measured alone
NANO_VIT = EncoderConfig(kind="vit", width=96, depth=4, heads=4, patch=8, projector=512)
Found = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure training steps."""

    peer: str | None = None
    """Interpreter of an environment which has stable-worldmodel [only ours is measured]."""
    sizes: tuple[str, ...] = (DEFAULT, "nano", "small", "paper")
    """Of them: nano, small, paper; and wm/nano, our default recipe, which the peer does not have."""
    batch: int = 0
    """Windows in a batch [128 on an accelerator; 32 on a processor, of paper 8]."""
    frames: tuple[int, int] = (10_000, 2_000)
    """Rows of the 64 px and of the 224 px set."""
    seconds: float = 3.0
    """For the step, and again for step and loader, of each side in each round."""
    least: int = 10
    """Steps timed each time, however long they take."""
    rounds: int = 3
    """Turns of both sides."""
    threads: int = 1
    """On the processor."""
    workers: int = 0
    """Worker processes of the peer's DataLoader."""
    device: str = "auto"
    """auto, cpu, or an accelerator's name."""
    folder: str = ""
    """Where the datasets are made and kept [a temporary folder]."""
    json: str = "benchmarks/results/training_throughput.json"
    """Where the numbers go."""


def task(size: str, options: Options, device: str, bf16: bool) -> dict[str, Any]:
    """What both sides are told to do, for one size; ``run`` is a run's configuration."""
    recipe, preset = size.split("/") if "/" in size else ("lewm", size)
    model, loss, train = settings(recipe, preset)
    if recipe == "lewm":
        model, loss = comparable(model), replace(loss, projections=1024)
        train = replace(train, batch=options.batch or (128 if device != "cpu" else 8 if preset == "paper" else 32))
    run = RunConfig(env="pusht", recipe=recipe, preset=preset, dataset="", model=model, loss=loss, train=train)
    chosen = {name: getattr(options, name) for name in ("seconds", "least", "threads", "workers")}
    return {**chosen, "run": to_dict(run), "device": device, "bf16": bf16}


def frames(run: Found) -> int:
    """Frames in a step, goals among them."""
    train = TrainConfig(**run["train"])
    long, goals = train.long_windows, train.batch if train.ahead else 0
    return int(long * train.window + (train.batch - long) * (run["model"]["context"] + 1) + goals)


def comparable(model: ModelConfig) -> ModelConfig:
    """The same model with the parts that the peer has: a ViT, and actions that pass a layer of four times the width."""
    step, encoder = model.one_step, model.encoder
    assert step is not None
    step = replace(step, action_hidden=4 * model.latent_dim)
    return replace(model, one_step=step, encoder=encoder if encoder.kind == "vit" else NANO_VIT)


def alone(given: Found) -> dict[str, Any]:
    """Time our side in a fresh process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(training_throughput_peer.ours, dict(given)).result()


def measure(given: Found, options: Options) -> dict[str, Any]:
    """Measure one size on both sides, in turns."""
    peers = options.peer is not None and given["run"]["model"]["prefix"] is None
    rounds: list[dict[str, Any]] = []
    for turn in range(options.rounds):
        told = {**given, "count": turn == 0}
        found = {"ours": alone(told)}
        if peers:
            source = Path(training_throughput_peer.__file__)
            found["peer"] = loading.feed(str(options.peer), source, told)
        rounds.append(found)
    per = "cpu_s" if given["device"] == "cpu" else "wall_s"
    result: dict[str, Any] = {"frames_in_a_step": frames(given["run"])}
    for side in rounds[0]:
        result[side] = summary([one[side] for one in rounds], result["frames_in_a_step"])
        cost = result[side]["step"][per]
        top = rounds[0]["ours"]["ceiling"][per.removesuffix("_s")]
        result[side] |= {"flops_per_s": result[side]["flops"] / cost, "ceiling_flops_per_s": top}
    if peers:
        if result["ours"]["parameters"] != result["peer"]["parameters"]:
            raise BadValue(f"--peer: it builds another model: {result['peer']['parameters']} parameters")
        for part in ("step", "end_to_end"):
            ratios = [one["peer"][part][per] / one["ours"][part][per] for one in rounds]
            result.setdefault("times_peer", {})[part] = median(ratios)
            result.setdefault("times_peer_range", {})[part] = (min(ratios), max(ratios))
    return result


def summary(rounds: Sequence[Found], count: int) -> dict[str, Any]:
    """Medians over the rounds of one side."""
    result = {key: rounds[0][key] for key in ("parameters", "flops", "versions") if key in rounds[0]}
    for part in ("step", "end_to_end"):
        times = {key: median(one[part][key] for one in rounds) for key in ("wall_s", "cpu_s")}
        result[part] = {**times, "frames_per_s": count / times["wall_s"], "frames_per_cpu_s": count / times["cpu_s"]}
    for key in ("loading_share", "peak_mb"):
        known = [one[key] for one in rounds if one[key] is not None]
        result[key] = median(known) if known else None
    return result


def rows(sizes: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The table: one line for each size and side."""
    head = ("size", "side", "frames/s", "per CPU-s", "times", "with loader", "per CPU-s", "times", "loading")
    table: list[tuple[str, ...]] = [(*head, "peak MB", "TFLOP/s", "of ceiling")]
    for size, found in sizes.items():
        for side in ("ours", "peer"):
            if side not in found:
                continue
            one, times = found[side], found.get("times_peer") if side == "ours" else None
            line = [size, side]
            for part in ("step", "end_to_end"):
                line += [f"{one[part]['frames_per_s']:,.0f}", f"{one[part]['frames_per_cpu_s']:,.0f}"]
                line.append(f"{times[part]:.2f}" if times else "-")
            line += [f"{one['loading_share']:.1%}", f"{one['peak_mb']:,.0f}" if one["peak_mb"] else "not measured"]
            share = one["flops_per_s"] / one["ceiling_flops_per_s"]
            table.append((*line, f"{one['flops_per_s'] / 1e12:.3f}", f"{share:.1%}"))
    return table


def main() -> None:
    """Entry point."""
    common.run(lambda: _main(common.parse(Options)))


def _main(options: Options) -> None:
    for name in ("rounds", "seconds", "least", "threads"):
        if getattr(options, name) <= 0:
            raise BadValue(f"--{name}: expected more than 0, got {getattr(options, name)}")
    for name in ("batch", "workers"):
        if getattr(options, name) < 0 or (name == "batch" and options.batch == 1):
            raise BadValue(f"--{name}: expected at least {2 if name == 'batch' else 0}, got {getattr(options, name)}")
    if min(options.frames) < 200:
        raise BadValue(f"--frames: expected at least 200 each, got {min(options.frames)}")
    for size in options.sizes:
        if size not in (known := (DEFAULT, *PRESETS)):
            raise UnknownName("size", size, known)

    import torch

    from worldmodel.benchmarks.provenance import provenance
    from worldmodel.precision import native_bf16

    device = common.device(options.device)
    torch.set_num_threads(options.threads)
    sizes: dict[str, Any] = {}
    with TemporaryDirectory(prefix="worldmodel-throughput-") as temporary:
        for size in options.sizes:
            given = task(size, options, str(device), native_bf16("auto", device))
            path = _dataset(Path(options.folder or temporary), given["run"]["model"]["image_size"], options)
            given["run"]["dataset"], given["own"] = str(path), str(loading.own_layout(path))
            sizes[size] = measure(given, options)
    print(common.aligned(rows(sizes)))
    chosen = {name: value for name, value in asdict(options).items() if name not in ("peer", "folder", "json")}
    write_json(options.json, {"settings": chosen, "sizes": sizes, **provenance(device)})
    print(options.json)


def _dataset(folder: Path, pixels: int, options: Options) -> Path:
    """PushT episodes of 200 rows in our layout and, for a peer, in its own."""
    from worldmodel.cli.data import collect_with_bar

    path = folder / f"pusht-{pixels}.h5"
    if not path.exists():
        collect_with_bar("pusht", path, options.frames[pixels > 64] // 200, steps=199, image_size=pixels)
        if options.peer:
            loading.peers(path, loading.Options(peer=options.peer, seconds=0.1, batch=8))  # which writes it
    return path


if __name__ == "__main__":
    main()
