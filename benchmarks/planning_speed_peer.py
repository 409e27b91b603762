"""The half of planning_speed.py that runs where stable-worldmodel is installed: its CEM through its LeWM predictor.

It reads one line of JSON from its first argument and two files in the folder named there: ``weights.pt``, of a LeWM as
published, and ``inputs.pt``: latents ``z`` and ``goal`` (B, 1, D) and ``plans`` (1, n, H, A). It writes what it makes
of them to ``from-theirs.pt``, so that the other half can compare, and prints the times of every case.

Neither side encodes pictures while it is timed. Theirs keeps the latents of a solve in its info dictionary, as ``emb``
and ``goal_emb``, and encodes only what is missing there; here both are in from the beginning. Otherwise this is its
``CEMSolver`` as it stands, all environments in one batch.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn

from worldmodel.benchmarks.clocks import count, extra, times


def build(config: dict[str, Any], weights: dict[str, Tensor]) -> Any:
    """Their module without its encoder, which is not timed, from the sizes of our model and the published names."""
    from stable_worldmodel.wm.lewm.lewm import LeWM
    from stable_worldmodel.wm.lewm.module import MLP, Embedder, Predictor

    step, D, A = config["one_step"], config["latent_dim"], config["action_block"] * config["action_dim"]
    predictor: Any = Predictor(
        num_frames=config["context"],
        depth=step["depth"],
        heads=step["heads"],
        dim_head=step["head_dim"],
        mlp_dim=step["mlp"],
        input_dim=D,
        hidden_dim=D,
        output_dim=D,
    )
    action: Any = Embedder(input_dim=A, emb_dim=D)
    head: Any = MLP(D, step["head"], D, norm_fn=nn.BatchNorm1d)
    model: Any = LeWM(nn.Identity(), predictor, action, pred_proj=head)
    model.load_state_dict({n: x for n, x in weights.items() if not n.startswith(("encoder.", "projector."))})
    return model.eval()


def info(given: dict[str, Tensor], count: int) -> dict[str, Tensor]:
    """What their solver is told of so many environments: the latents; of the pictures only how many they are."""
    B, device = min(count, len(given["z"])), given["z"].device
    stand_in = torch.zeros(B, 1, 1, device=device)
    return {"pixels": stand_in, "goal": stand_in, "emb": given["z"][:B], "goal_emb": given["goal"][:B]}


def predict(model: Any, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """Latents (1, n, H, D) and costs (1, n) of the given plans."""
    n = given["plans"].shape[1]
    told: dict[str, Tensor] = {k: v[:, None].expand(-1, n, *v.shape[1:]) for k, v in info(given, 1).items()}
    with torch.inference_mode():
        cost = model.get_cost(told, given["plans"])
    return {"latents": told["predicted_emb"][:, :, 1:].cpu(), "cost": cost.cpu()}


def measure(model: Any, case: dict[str, Any], given: dict[str, Tensor], told: dict[str, Any]) -> dict[str, Any]:
    """Time solves of one case; the first is not timed."""
    from stable_worldmodel.policy import PlanConfig
    from stable_worldmodel.solver.cem import CEMSolver

    B, width = case["environments"], told["config"]["action_dim"]
    solver: Any = CEMSolver(
        model,
        batch_size=B,
        num_samples=case["candidates"],
        n_steps=case["iterations"],
        topk=case["elites"],
        device=told["device"],
    )
    plan = PlanConfig(
        horizon=case["horizon"], receding_horizon=case["horizon"], action_block=told["config"]["action_block"]
    )
    space = gymnasium.spaces.Box(-1, 1, (B, width), np.float32)
    solver.configure(action_space=space, n_envs=B, config=plan)

    def solve() -> None:
        solver(info(given, B))

    found = {"iterations": case["iterations"]}
    if told["count"]:
        found |= {"flops": count(solve), "peak_mb": extra(solve, told["device"])}
    else:
        solve()
    return {"times": times(solve, told["seconds"], told["device"], told["least"]), **found}


def main() -> None:
    """Compare and measure what the first argument tells."""
    told = json.loads(sys.argv[1])
    torch.set_num_threads(told["threads"])
    folder = Path(told["folder"])
    weights = torch.load(folder / "weights.pt", weights_only=True)
    given = {k: v.to(told["device"]) for k, v in torch.load(folder / "inputs.pt", weights_only=True).items()}
    model = build(told["config"], weights).to(told["device"])
    torch.save(predict(model, given), folder / "from-theirs.pt")
    found = [measure(model, case, given, told) for case in told["cases"]]
    names = ("stable-worldmodel", "torch")
    print("\n" + json.dumps({"cases": found, "versions": {name: version(name) for name in names}}))


if __name__ == "__main__":
    main()
