"""The half of parity.py that runs where stable-worldmodel is installed and this package is not.

It builds the published module, in a folder full of tensors from the other half:

- ``inputs.pt``: ``pixels`` uint8 (B, T, S, S, 3), ``actions`` (B, T-1, A) and ``plans`` (B, N, H, A) normalised, and
  ``cloud`` (T, B, D) and ``directions`` (D, P) for SIGReg;
- ``ours-4.pt`` or ``ours-5.pt``: weights to load, in the names the encoder has here;
- ``theirs.pt``: weights of its own making, written here.

It writes what it computes with either to ``from-ours.pt`` and ``from-theirs.pt``. Published sizes throughout.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

D, HIDDEN, LAMBDA = 192, 2048, 0.09


def build(kind: str, width: int, code: str) -> tuple[nn.Module, Any]:
    """Return the published module for actions of ``width`` numbers, and its SIGReg class."""
    from transformers import ViTConfig, ViTModel

    vit = ViTModel(
        ViTConfig(
            hidden_size=D,
            num_hidden_layers=12,
            num_attention_heads=3,
            intermediate_size=4 * D,
            image_size=224,
            patch_size=14,
        ),
        add_pooling_layer=False,
    )
    whole: Any
    sizes: dict[str, Any] = {
        "input_dim": D,
        "hidden_dim": D,
        "output_dim": D,
        "depth": 6,
        "mlp_dim": HIDDEN,
        "dropout": 0.1,
    }
    if kind == "lewm":
        from stable_worldmodel.wm.lewm.lewm import LeWM
        from stable_worldmodel.wm.lewm.module import MLP, Embedder, Predictor
        from stable_worldmodel.wm.loss import SIGReg

        action = Embedder(input_dim=width, emb_dim=D)
        whole, predictor = LeWM, Predictor(num_frames=3, heads=16, dim_head=64, **sizes)
    else:
        sys.path.insert(0, code)
        from jepa import JEPA
        from module import MLP, ARPredictor, Embedder, SIGReg

        action = Embedder(
            input_dim=width,
            emb_dim=D,
            transformer_depth=3,
            transformer_heads=6,
            transformer_dim_head=32,
            transformer_mlp_dim=768,
            use_latent_condition=True,
            latent_dim=D,
        )
        whole = JEPA
        predictor = ARPredictor(value_heads=16, value_dim_head=64, action_fusion_hidden_dim=768, **sizes)
    projector, head = (MLP(D, HIDDEN, D, norm_fn=nn.BatchNorm1d) for _ in range(2))
    return whole(vit, predictor, action, projector=projector, pred_proj=head), SIGReg


def teacher_forced(model: Any, kind: str, pixels: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Latents (B, T, D), predictions and their targets, both (B, T-1, D)."""
    found = model.encode({"pixels": pixels, "action": actions})
    z = found["emb"]
    context = z[:, :-1] if kind == "lewm" else z[:, 0]
    return z, model.predict(context, found["act_emb"]), z[:, 1:]


def sigreg(module: Any, z: Tensor, directions: Tensor) -> Tensor:
    """Their regulariser of z (T, B, D), with these directions instead of random ones."""
    with patch("torch.randn", lambda *size, device=None: directions.clone()):
        value: Tensor = module(num_proj=directions.shape[1])(z)
    return value


def outputs(model: Any, kind: str, regulariser: Any, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """All that is compared: in evaluation mode, then loss and gradients of a training step without dropout."""
    rgb = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[:, :, None, None]
    pixels = (given["pixels"].permute(0, 1, 4, 2, 3) / 255 - rgb[0]) / rgb[1]
    plans, directions = given["plans"], given["directions"]
    b, n, horizon, _ = plans.shape
    model.eval()
    with torch.no_grad():
        z, predicted, _ = teacher_forced(model, kind, pixels, given["actions"])
        start = {"pixels": pixels[:, None, :1].expand(-1, n, -1, -1, -1, -1)}
        if kind == "fast-lewm":  # one call predicts 5 steps; it returns the last of each call
            plans = plans.view(b, n, horizon // 5, -1)
        rollout = model.rollout(start, plans)["predicted_emb"][:, :, 1:]
        found = {"latents": z, "predictions": predicted, "rollout": rollout}
        found["sigreg"] = sigreg(regulariser, given["cloud"], directions)

    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0
    z, predicted, target = teacher_forced(model, kind, pixels, given["actions"])
    loss = (predicted - target).square().mean() + LAMBDA * sigreg(regulariser, z.transpose(0, 1), directions)
    loss.backward()
    found["loss"] = loss.detach()
    for name, parameter in model.named_parameters():
        found[f"gradient {name}"] = parameter.grad
    return found


def main() -> None:
    """Do it all for the folder and the model that the first argument, one line of JSON, names; print versions."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    told = json.loads(sys.argv[1])
    folder, kind, code = Path(told["folder"]), told["kind"], told["code"]
    given = torch.load(folder / "inputs.pt", weights_only=True)
    model, regulariser = build(kind, given["actions"].shape[-1], code)
    with torch.no_grad():
        for parameter in model.parameters():  # so that nothing is left at its zero start
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    torch.save(state, folder / "theirs.pt")
    torch.save(outputs(model, kind, regulariser, given), folder / "from-theirs.pt")

    fresh, _ = build(kind, given["actions"].shape[-1], code)
    new = any(name.startswith("encoder.layers.") for name in state)
    fresh.load_state_dict(torch.load(folder / f"ours-{5 if new else 4}.pt", weights_only=True))
    torch.save(outputs(fresh, kind, regulariser, given), folder / "from-ours.pt")
    names = ("stable-worldmodel", "torch", "transformers")
    print(json.dumps({name: version(name) for name in names}))


if __name__ == "__main__":
    main()
