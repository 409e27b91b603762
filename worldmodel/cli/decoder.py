"""``wm-model decoder``: let people see what a model's latents mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from worldmodel.cli import common, plan
from worldmodel.cli.plan_options import Options, text
from worldmodel.config import DecoderConfig
from worldmodel.errors import BadFile

if TYPE_CHECKING:
    from torch import Tensor

JUDGED = 1000  # held-out frames, at most


def decoder(
    model: Annotated[str | None, text("PATH", "newest run")] = None,
    minutes: float = DecoderConfig.minutes,
    steps: int = DecoderConfig.steps,
    dataset: Annotated[str | None, text("PATH", "what the model was trained on, else data/<env>.h5")] = None,
    seed: int = 0,
    device: str = "auto",
) -> None:
    """Train a decoder of a finished model, which stays as it is, and keep it beside it: imagined plans become pictures.

    Args:
        model: Run folder or model folder.
        minutes: Wall clock to train for; interrupted, nothing is kept.
        steps: Optimiser steps instead, 0 for by the clock.
        dataset: Episodes to learn from.
        seed: Of everything that is drawn.
        device: auto, cpu, or an accelerator's name.
    """
    with common.options_as_fields():
        config = DecoderConfig(minutes=minutes, steps=steps, seed=seed)
    chosen = Options(model=model, dataset=dataset, device=device)
    folder, about, env = plan.choose_model(chosen, simulated=False)

    import numpy as np
    import torch

    from worldmodel.checkpoint import load_model, save_decoder
    from worldmodel.datasets.windows import Windows
    from worldmodel.decoder import Decoder, psnr, reconstruction_error, train_decoder

    where = common.device(device)
    with common.option("--model"):
        made = load_model(folder, where)
    size, trained_on = made.config.image_size, about.get("dataset") or {}
    with plan.dataset(chosen, env, trained_on, size, about.get("render_preset", "fast")) as store:
        windows = {}
        with common.bar(None, "frames", "decoding") as bar:
            for split in ("train", "test"):
                windows[split] = Windows(
                    store, split, 1, columns=("pixels",), progress=lambda at, n: common.move(bar, at, n)
                )
        fingerprint = store.fingerprint

    def frames(split: str, count: int, *numbers: int) -> Tensor:
        rng = np.random.default_rng((config.seed, *numbers))
        rows = np.sort(rng.integers(len(windows[split]), size=count))
        return torch.from_numpy(windows[split].batch(rows)["pixels"][:, 0]).to(where)

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed)
        drawing = Decoder(config, made.config.latent_dim, size).to(where)
    with common.bar(100, "%", f"decoder of {env}") as bar:
        taken = train_decoder(
            drawing,
            made,
            lambda step: frames("train", config.batch, 0, step % 2**32),
            config,
            lambda done: bar.update(int(100 * done) - bar.n),
        )
    decoded, mean = reconstruction_error(drawing, made, frames("test", JUDGED, 1))
    if not decoded < mean:
        raise BadFile(
            f"the decoder learned nothing in {taken} steps ({psnr(decoded):.1f} dB held out, the mean picture "
            f"{psnr(mean):.1f}): give it more --minutes, or these latents hold nothing (wm-bench geometry)"
        )
    facts = {"steps": taken, "psnr": psnr(decoded), "psnr_mean": psnr(mean), "dataset": fingerprint}
    file = save_decoder(folder, drawing, **facts)
    rows = [
        ("decoder", f"{file}, {sum(x.numel() for x in drawing.parameters()):,} parameters, {taken} steps"),
        ("held out", f"{psnr(decoded):.1f} dB PSNR, the mean picture {psnr(mean):.1f} ({JUDGED} frames)"),
        ("error", f"{100 * decoded / mean:.1f} % of the mean picture's"),
    ]
    print(common.aligned(rows))
