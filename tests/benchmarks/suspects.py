"""Models that a report must tell apart, small enough to make in a test: four with a flaw or a secret, and a sound one.

Shapes: B windows or environments, T frames, N candidates, H model steps, M places, F action block.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from worldmodel.checkpoint import load_model, save_model
from worldmodel.config import EncoderConfig, LossConfig, ModelConfig, OneStepConfig, PrefixConfig, TrainConfig
from worldmodel.datasets.store import EpisodeStore
from worldmodel.datasets.windows import Windows, action_bounds, action_statistics
from worldmodel.envs import registry
from worldmodel.envs.two_room import ARENA, WALL
from worldmodel.interfaces import Context
from worldmodel.model import WorldModel
from worldmodel.terms import Loss
from worldmodel.training import train

SIZE = 32  # px
_narrow = {"depth": 1, "heads": 2, "mlp": 64, "action_hidden": 32, "head": 64}
CONFIG = ModelConfig(
    env="two-room",
    image_size=SIZE,
    latent_dim=16,
    context=1,
    encoder=EncoderConfig(width=8, depth=2, projector=64),
    one_step=OneStepConfig(head_dim=16, **_narrow),
    prefix=PrefixConfig(max_prefix=5, blocks=1, block_inner=32, block_mlp=64, **_narrow),
)
LOSS = LossConfig(projections=64)
TRAIN = TrainConfig(steps=200, batch=32, window=6, lr=3e-3, precision="fp32", save_every=10**6, log_every=100)


class Oracle(WorldModel):
    """Its latent is the state, the dot's place in the picture, and its predictor is the environment's own rule."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.simulator = Simulator(self)

    def encode(self, obs: Mapping[str, Tensor]) -> Tensor:
        """Read the dot's centre, and nothing else, from frames: uint8 (B, T, S, S, 3) -> (B, T, 2).

        The dot is blended into a grey picture as (255, 0, 0), so how opaque it is in a pixel is (red - green) / 255.
        """
        frames = obs["pixels"].float()
        dot = frames[..., 0] - frames[..., 1]
        middle = torch.arange(dot.shape[-1], device=dot.device) + 0.5
        mass = dot.sum(dim=(-1, -2))
        x, y = (dot.sum(dim=-2) * middle).sum(dim=-1) / mass, (dot.sum(dim=-1) * middle).sum(dim=-1) / mass
        return latent(torch.stack([x, y], dim=-1) * (ARENA / dot.shape[-1]))

    @property
    def predictors(self) -> tuple[str, ...]:
        return ("one-step",)

    def predictor(self, name: str) -> Simulator:  # type: ignore[override]
        assert name == "one-step"
        return self.simulator


class Simulator:
    """TwoRoom.advance on many places at once, as a predictor."""

    max_prefix = context = 1

    def __init__(self, model: WorldModel) -> None:
        self.denormalise, self.F = model.denormalise, model.config.action_block
        self.task = registry.make("two-room").unwrapped

    def rollout(self, context: Context, plans: Tensor) -> Tensor:
        """Latents after every step: plans (B, N, H, A) -> (B, N, H, 2)."""
        place, path = state(context.z[:, -1:]).expand(-1, plans.shape[1], -1), []
        for action in self.denormalise(plans).unflatten(-1, (self.F, 2)).flatten(2, 3).unbind(dim=2):
            place = self.advance(place, action.clamp(-1, 1))
            path.append(place)
        return latent(torch.stack(path[self.F - 1 :: self.F], dim=2))

    def arrivals(self, context: Context, plans: Tensor, steps: tuple[int, ...]) -> Tensor:
        """Latents after the chosen steps, counted from 1: (B, N, H, A) -> (B, N, S, 2)."""
        return self.rollout(context, plans)[:, :, [step - 1 for step in steps]]

    def advance(self, place: Tensor, action: Tensor) -> Tensor:
        """One environment step of places (..., 2), px: along x, then along y, each as far as the walls let it."""
        (x, y), (dx, dy) = place.unbind(-1), (self.task.speed * action).unbind(-1)
        (low, high), (top, bottom), stop = self.task.room, self.task.passage, self.task.stop
        wall = (y < top) | (y > bottom)
        left, right = wall & (x <= WALL - stop), wall & (x >= WALL + stop)
        inside = wall & ~left & ~right
        ahead = (x + dx).clamp(low, high)
        ahead = torch.where(left, ahead.clamp(max=WALL - stop), torch.where(right, ahead.clamp(min=WALL + stop), ahead))
        x = torch.where(inside, x, ahead)
        door = ((x - WALL).abs() < stop) & ~wall
        y = torch.where(door, (y + dy).clamp(top, bottom), (y + dy).clamp(low, high))
        return torch.stack([x, y], dim=-1)


def latent(place: Tensor) -> Tensor:
    """Places in px as latents with about the spread that SIGReg asks for."""
    return (place - ARENA / 2) / 60


def state(z: Tensor) -> Tensor:
    """Undo `latent`."""
    return 60 * z + ARENA / 2


def trained(store: EpisodeStore, folder: Path, loss: LossConfig = LOSS, shuffled: bool = False) -> WorldModel:
    """A model trained for a few seconds; ``shuffled`` gives every window the actions of another one."""
    model, windows = untrained(store), Windows(store, "train", TRAIN.window, CONFIG.action_block)

    def sample(step: int) -> list[dict[str, Tensor]]:
        generator = torch.Generator().manual_seed(step)
        chosen = torch.randint(len(windows), (TRAIN.batch,), generator=generator)
        batch = {name: torch.from_numpy(values) for name, values in windows.batch(chosen.numpy()).items()}
        return [batch | {"action": batch["action"].roll(1, dims=0)} if shuffled else batch]

    train(model, Loss(loss, model.config.predictions), TRAIN, sample, folder)
    return model


def untrained(store: EpisodeStore, kind: type[WorldModel] = WorldModel, config: ModelConfig = CONFIG) -> WorldModel:
    """A model of random weights that knows how large actions are."""
    torch.manual_seed(1)  # not that of the random encoder which probes compare it with
    model = kind(config)
    model.set_actions(*action_statistics(store), *action_bounds(store))
    return model.eval()


def oracle(store: EpisodeStore) -> WorldModel:
    """The model that knows the state."""
    return untrained(store, Oracle, replace(CONFIG, latent_dim=2, prefix=None))


def make_all(store: EpisodeStore, folder: Path) -> dict[str, Path]:
    """Make every suspect; return the run folder of each, by what is to be found out about it."""
    runs = {
        name: folder / name for name in ("untrained", "collapsed", "ignores the actions", "near-perfect", "predicts")
    }
    models = {
        "untrained": untrained(store),
        "collapsed": trained(store, runs["collapsed"], replace(LOSS, sigreg=0.0)),
        "ignores the actions": trained(store, runs["ignores the actions"], shuffled=True),
        "near-perfect": oracle(store),
        "predicts": trained(store, runs["predicts"]),
    }
    for name, model in models.items():
        about = {"dataset": {"path": str(store.path), "fingerprint": store.fingerprint}, "recipe": type(model).__name__}
        save_model(runs[name] / "model", model, env="two-room", render_preset="fast", **about)
    return runs


def load(path: str | Path, device: str | torch.device = "cpu") -> WorldModel:
    """What `load_model` returns, and the oracle where it lies there."""
    model = load_model(path, device)
    if model.about["recipe"] != Oracle.__name__:
        return model
    oracle = Oracle(model.config)
    oracle.load_state_dict(model.state_dict())
    oracle.about = model.about
    return oracle.to(device).eval()
