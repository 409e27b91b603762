"""Are LeWM and Fast-LeWM here what was published? The same weights and inputs in their modules and in ours, compared.

Run it as ``python -m worldmodel.benchmarks.parity --peer PYTHON``, PYTHON being that of an environment with
stable-worldmodel, whose module LeWM is. Fast-LeWM is compared too where ``--fast-lewm`` names a folder with its code.
Weights go both ways, each through its own file. Everything is float32 on the processor. ``--golden`` writes a few of
their numbers, which the tests compare with ours where there is no peer.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldmodel.benchmarks import loading
from worldmodel.cli import common

if TYPE_CHECKING:
    from torch import Tensor

    from worldmodel.model import WorldModel

QUANTITIES = ("latents", "predictions", "rollout", "sigreg", "loss")
B, N, SIZE, BLOCK, PROJECTIONS = 2, 2, 224, 5, 1024


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare our models with the published modules."""

    peer: tuple[str, ...]
    """Interpreters of environments with stable-worldmodel, whose versions of transformers may differ."""
    fast_lewm: str | None = None
    """Folder with Fast-LeWM's module.py and jepa.py [not compared]."""
    golden: str | None = None
    """Folder for the numbers that tests compare with [none are written]."""
    json: str = "benchmarks/results/parity.json"
    """Where the differences go."""


def noise(*shape: int, seed: int) -> Tensor:
    """Numbers of mean 0 and variance 1, the same on every machine: integer hashes of the positions, float64."""
    import torch

    bits, count = 0xFFFFFFFF, int(torch.tensor(shape).prod())
    h = torch.arange(count) * 0x9E3779B1 + seed * 0x85EBCA77 & bits
    for shift, factor in ((15, 0x2C1B3C6D), (12, 0x297A2D39)):
        h = (h ^ h >> shift) * factor & bits
    h ^= h >> 15
    return ((h.double() + 0.5) / 2**31 - 1).mul(3**0.5).view(shape)


def filled(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights by formula, of a plausible size, so that no file of them is needed: names and shapes decide."""
    made = {}
    for seed, (name, old) in enumerate(sorted(state.items())):
        x = noise(*old.shape, seed=seed)
        if name.endswith("num_batches_tracked"):
            x = x * 0
        elif name.endswith("running_var"):
            x = 1 + 0.3 * x
        elif old.ndim == 1:
            x = 0.1 * x + name.endswith(".weight")  # norms
        else:
            x = x / old[0].numel() ** 0.5
        made[name] = x.to(old.dtype)
    return made


def inputs(frames: int, horizon: int, width: int) -> dict[str, Tensor]:
    """Pictures of coarse squares, actions, plans, and what SIGReg is compared on."""
    import torch

    squares = noise(B, frames, 8, 8, 3, seed=1).mul(60).add(128).to(torch.uint8)
    pixels = squares.repeat_interleave(SIZE // 8, dim=2).repeat_interleave(SIZE // 8, dim=3)
    return {
        "pixels": pixels,
        "actions": noise(B, frames - 1, width, seed=2).float(),
        "plans": noise(B, N, horizon, width, seed=3).float(),
        "cloud": noise(4, 64, 192, seed=4).float(),
        "directions": noise(192, PROJECTIONS, seed=5).float(),
    }


def setting(kind: str) -> tuple[int, int, tuple[int, ...]]:
    """Frames of a window, steps of the rollout, and which of them the peer returns."""
    return (4, 5, (1, 2, 3, 4, 5)) if kind == "lewm" else (6, 10, (5, 10))


def outputs(model: WorldModel, kind: str, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """What our model makes of the inputs, in evaluation mode."""
    import torch

    from worldmodel.interfaces import Context
    from worldmodel.sigreg import quadrature, sigreg

    part = model.predictor(model.predictors[0])
    with torch.no_grad():
        z = model.encode(given)
        predicted = part.predict_windows(z, given["actions"]).hat.view(B, -1, z.shape[-1])
        start = Context(z[:, :1], given["actions"][:, :0])
        rollout = part.arrivals(start, given["plans"], setting(kind)[2])
        value = sigreg(given["cloud"].transpose(0, 1), given["directions"], *quadrature())
    return {"latents": z, "predictions": predicted, "rollout": rollout, "sigreg": value}


def trained(model: WorldModel, given: dict[str, Tensor], transformers: int) -> dict[str, Tensor]:
    """Loss of a training step without dropout, and its gradients under the names their tensors have."""
    from worldmodel.model import WorldModel
    from worldmodel.published import published_state
    from worldmodel.sigreg import quadrature, sigreg
    from worldmodel.terms import prediction_error

    still = WorldModel(
        replace(
            model.config,
            one_step=model.config.one_step and replace(model.config.one_step, dropout=0.0),
            prefix=model.config.prefix and replace(model.config.prefix, dropout=0.0),
        )
    )
    still.load_state_dict(model.state_dict())
    step = still.train().step([{"pixels": given["pixels"], "action": given["actions"]}])
    prediction = step.one_step or step.prefix
    assert prediction is not None
    loss = prediction_error(prediction) + 0.09 * sigreg(step.z[0], given["directions"], *quadrature())
    loss.backward()
    for parameter in still.parameters():
        assert parameter.grad is not None
        parameter.data = parameter.grad
    return {"loss": loss.detach()} | {f"gradient {k}": x for k, x in published_state(still, transformers).items()}


def differences(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> dict[str, float]:
    """Largest absolute difference of each quantity; that of the gradients is over their largest entry."""
    found = {name: float((ours[name] - theirs[name]).abs().max()) for name in QUANTITIES}
    gradients = [name for name in theirs if name.startswith("gradient ")]
    worst = max(float((ours[name] - theirs[name]).abs().max()) for name in gradients)
    return found | {"gradients": worst / max(float(theirs[name].abs().max()) for name in gradients)}


def digest(state: dict[str, Tensor]) -> str:
    """SHA-256 of names and shapes."""
    return sha256("\n".join(f"{name} {tuple(x.shape)}" for name, x in sorted(state.items())).encode()).hexdigest()


def golden(theirs: dict[str, Tensor]) -> dict[str, Any]:
    """Of each quantity the sum, the sum of squares and some entries."""
    found: dict[str, Any] = {}
    for name in QUANTITIES[:-1]:
        x = theirs[name].double().flatten()
        entries = x[:: max(1, len(x) // 16)].tolist()
        found[name] = {"count": len(x), "sum": float(x.sum()), "squares": float(x.square().sum()), "entries": entries}
    return found


def compare(kind: str, peer: str, code: str | None) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows of differences, and the peer's numbers for the tests.

    Raises:
        BadFile: the other environment cannot do it; the last line it said.
    """
    import torch

    from worldmodel.model import WorldModel
    from worldmodel.published import published_state, read_published, write_published
    from worldmodel.recipes import settings

    frames, horizon, _ = setting(kind)
    given = inputs(frames, horizon, 2 * BLOCK)
    rows = []
    with tempfile.TemporaryDirectory(prefix="worldmodel-parity-") as temporary:
        folder = Path(temporary)
        torch.save(given, folder / "inputs.pt")
        with torch.device("meta"):
            state = published_state(WorldModel(settings(kind, "paper")[0]))
        torch.save(filled(state), folder / "filled.pt")
        for transformers in (4, 5):  # the peer takes what fits it
            write_published(folder / f"ours-{transformers}.pt", read_published(folder / "filled.pt"), transformers)
        versions = call(peer, folder, kind, code)
        for direction, source in (("ours in theirs", "filled.pt"), ("theirs in ours", "theirs.pt")):
            theirs = torch.load(folder / f"from-{source.replace('filled', 'ours')}", weights_only=True)
            transformers = 5 if any(name.startswith("gradient encoder.layers.") for name in theirs) else 4
            model = read_published(folder / source)
            ours = outputs(model, kind, given) | trained(model, given, transformers)
            rows.append({"model": kind, **versions, "weights": direction, **differences(ours, theirs)})
            if source == "filled.pt":
                numbers = golden(theirs)
        names = {"names": digest(torch.load(folder / "theirs.pt", weights_only=True)), "transformers": transformers}
    return rows, names | numbers


def call(peer: str, folder: Path, kind: str, code: str | None) -> dict[str, str]:
    """Run parity_peer.py in the other environment; return its versions."""
    given = {"folder": str(folder.resolve()), "kind": kind, "code": str(Path(code).resolve()) if code else ""}
    return loading.feed(peer, Path(__file__).with_name("parity_peer.py"), given)


def main() -> None:
    """Entry point."""
    common.run(lambda: _main(common.parse(Options)))


def _main(options: Options) -> None:
    import torch

    from worldmodel.benchmarks.provenance import provenance
    from worldmodel.files import write_json

    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for peer in options.peer:
        for kind in ("lewm", "fast-lewm") if options.fast_lewm else ("lewm",):
            found, numbers = compare(kind, peer, options.fast_lewm)
            rows += found
            if options.golden and peer == options.peer[0]:
                write_json(Path(options.golden) / f"{kind}.json", numbers)
    about = ("model", "weights", "transformers")
    table = [(*(row[k] for k in about), *(f"{row[k]:.1e}" for k in (*QUANTITIES, "gradients"))) for row in rows]
    print(common.aligned([(*about, *QUANTITIES, "gradients"), *table]))
    write_json(options.json, {"rows": rows, **provenance(torch.device("cpu"))})
    print(options.json)


if __name__ == "__main__":
    main()
