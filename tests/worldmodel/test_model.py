"""The model: encoding, actions, sizes of the published models, bad input."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.worldmodel.tiny import dot_batch, dot_groups, tiny_config, tiny_model
from worldmodel.config import ENCODERS, EncoderConfig, LossConfig
from worldmodel.encoders import Pixels
from worldmodel.errors import BadValue, UnknownName
from worldmodel.imagination import random_plans
from worldmodel.interfaces import Context
from worldmodel.model import WorldModel
from worldmodel.recipes import PRESETS, RECIPES, settings
from worldmodel.terms import Loss, side_by_side


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_recipe_fits_every_preset(recipe: str, preset: str) -> None:
    config, loss, train = settings(recipe, preset)
    model = WorldModel(config)
    assert train.window > config.context
    Loss(loss, config.predictions)
    if preset == "small":
        assert parameters(model) <= 7_000_000


@pytest.mark.parametrize("kind", ENCODERS)
def test_encoding_is_per_frame_and_independent_of_company(kind: str) -> None:
    encoder = EncoderConfig(kind=kind, width=8, depth=2, heads=2, patch=4, projector=32)
    model = tiny_model(encoder=encoder)
    pixels = dot_batch(0)["pixels"]
    with torch.no_grad():
        z = model.encode({"pixels": pixels})
        assert z.shape == (8, 5, 16)
        for b, t in ((0, 0), (3, 4)):
            assert torch.equal(model.encode({"pixels": pixels[b : b + 1, t : t + 1]})[0, 0], z[b, t])


def test_pixels_are_normalised_by_imagenet_statistics() -> None:
    frames = torch.randint(0, 256, (2, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = frames.permute(0, 3, 1, 2) / 255
    expected = (expected - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(3, 1, 1)
    torch.testing.assert_close(Pixels(16)(frames), expected, rtol=1e-5, atol=1e-5)


def test_a_wrong_image_size_is_named() -> None:
    with pytest.raises(BadValue, match=r"expected \(B, T, 16, 16, 3\) uint8, got \(1, 1, 8, 8, 3\) uint8"):
        tiny_model().encode({"pixels": torch.zeros(1, 1, 8, 8, 3, dtype=torch.uint8)})
    with pytest.raises(BadValue, match="got .* float32"):
        tiny_model().encode({"pixels": torch.zeros(1, 1, 16, 16, 3)})


def test_actions_survive_normalisation_and_bounds_follow() -> None:
    model = tiny_model()
    model.set_actions([0.5, -1.0], [2.0, 0.0], [-1.0, -2.0], [1.0, 2.0])
    blocks = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    blocks[:, 1::2] = -1.0  # a constant action has no spread to divide by, and must not become NaN
    torch.testing.assert_close(model.denormalise(model.normalise(blocks)), blocks)
    torch.testing.assert_close(model.denormalise(model.low), torch.tensor([-1.0, -2.0]).repeat(3))
    torch.testing.assert_close(model.denormalise(model.high), torch.tensor([1.0, 2.0]).repeat(3))


def test_unknown_parts_are_named() -> None:
    with pytest.raises(UnknownName, match="did you mean 'prefix'"):
        tiny_model().predictor("prefx")
    with pytest.raises(UnknownName, match="did you mean 'vit'"):
        tiny_model(encoder=EncoderConfig(kind="vitt"))
    with pytest.raises(UnknownName, match="did you mean 'lewm'"):
        settings("lewn", "nano")
    with pytest.raises(BadValue, match="at least one predictor"):
        WorldModel(tiny_config(one_step=None, prefix=None))


def test_terms_and_weights_must_match() -> None:
    with pytest.raises(BadValue, match=r"\['inverse', 'prefix'\].*\['one_step'\]"):
        Loss(LossConfig(inverse=1.0), {"one_step"})


def test_a_weight_of_zero_leaves_the_term_out_and_the_sum_is_weighted() -> None:
    model = tiny_model(inverse=8)
    step = model.step(dot_groups(0))
    loss = Loss(LossConfig(one_step=2.0, prefix=0.0, sigreg=0.5, inverse=0.1), {"one_step", "prefix", "inverse"})
    total, parts = loss(step, torch.Generator().manual_seed(0))
    assert set(parts) == {"one_step", "sigreg", "inverse"}
    expected = 2.0 * parts["one_step"] + 0.5 * parts["sigreg"] + 0.1 * parts["inverse"]
    torch.testing.assert_close(total, expected)


def test_gradient_flows_into_the_targets() -> None:
    model = tiny_model()
    step = model.step(dot_groups(0))
    assert step.prefix is not None
    (gradient,) = torch.autograd.grad(step.prefix.target.sum(), model.projector[-1].bias)
    assert float(gradient.abs().sum()) > 0


def test_a_prefix_predictor_may_learn_without_shaping_the_encoder() -> None:
    prefix = tiny_config().prefix
    assert prefix is not None
    step = tiny_model(prefix=replace(prefix, shapes_encoder=False)).step(dot_groups(0))
    assert step.prefix is not None and step.one_step is not None
    assert step.prefix.hat.requires_grad and not step.prefix.target.requires_grad
    assert step.one_step.target.requires_grad
    assert torch.autograd.grad(step.prefix.hat.sum(), step.z, allow_unused=True) == (None, None)


def test_imagined_plans_teach_the_prefix_predictor_and_nothing_else() -> None:
    prefix = tiny_config().prefix
    assert prefix is not None
    model = tiny_model(prefix=replace(prefix, imagines=True)).train()
    with torch.autocast("cpu", torch.bfloat16):
        step = model.step(dot_groups(0), torch.Generator().manual_seed(1))
    assert step.imagined is not None and step.one_step is not None
    assert step.imagined.hat.shape == step.imagined.target.shape == (8 * 4, 16)  # every window, prefixes 1 to 4
    assert not step.imagined.target.requires_grad and model.parts["one-step"].training

    step.imagined.hat.float().square().sum().backward(retain_graph=True)
    learning = {name.split(".")[0] for name, p in model.parts.named_parameters() if p.grad is not None}
    assert learning == {"prefix"} and model.projector[-1].bias.grad is None
    # In older torch a rollout could leave parameters without gradient in what autocast remembers.
    step.one_step.hat.float().square().sum().backward()
    assert all(p.grad is not None for p in model.parts["one-step"].parameters())
    assert model.parts["one-step"].head[1].num_batches_tracked == 2  # its own two groups, not the rollouts


def test_imagined_targets_are_the_teachers_rollouts() -> None:
    prefix = tiny_config().prefix
    assert prefix is not None
    model = tiny_model(prefix=replace(prefix, imagines=True))
    groups = dot_groups(0)
    with torch.no_grad():
        step = model.train().step(groups, torch.Generator().manual_seed(1))
        model.eval()
        plans = random_plans(8, 4, model.low, model.high, 3, torch.Generator().manual_seed(1))
        z = torch.cat([z[:, :2] for z in step.z])
        actions = torch.cat([model.normalise(group["action"][:, :1]) for group in groups])
        path = model.predictor("one-step").rollout(Context(z, actions), plans[:, None])[:, 0]
    assert step.imagined is not None
    torch.testing.assert_close(step.imagined.target.view(8, 4, 16), path)


def test_random_plans_keep_their_spread_and_their_bounds() -> None:
    bound = torch.full((6,), 50.0)
    plans = random_plans(4000, 4, -bound, bound, 3, torch.Generator().manual_seed(0)).view(4000, 12, 2)
    torch.testing.assert_close(plans.std(dim=0), torch.ones(12, 2), rtol=0.05, atol=0)
    near = (plans[:, 1:] * plans[:, :-1]).mean()
    assert 0.45 < float(near) < 0.55  # the mean correlation of neighbouring actions, rho uniform in [0, 1)
    tight = random_plans(100, 4, -bound / 100, bound / 200, 3, torch.Generator().manual_seed(0))
    assert tight.min() == -0.5 and tight.max() == 0.25


def test_every_part_learns_from_the_windows_that_are_long_enough() -> None:
    model = tiny_model(inverse=8)
    long, short = dot_groups(0)  # four windows of five frames, four of three; context 2, prefixes up to 4
    step = model.step([long, short])
    assert [z.shape for z in step.z] == [(4, 5, 16), (4, 3, 16)]
    assert step.prefix is not None and step.one_step is not None and step.inverse is not None
    assert len(step.prefix.hat) == 4 * (4 + 3 + 2 + 1)
    assert len(step.one_step.hat) == 4 * 3 + 4 * 1
    assert len(step.inverse.hat) == 4 * 4 + 4 * 2
    torch.testing.assert_close(model.encode(short), step.z[1])  # the groups are told apart again
    torch.testing.assert_close(step.inverse.target[-8:], model.normalise(short["action"]).flatten(0, 1))


def test_windows_of_different_lengths_side_by_side() -> None:
    long, short = torch.arange(8.0).view(1, 4, 2), -torch.arange(4.0).view(1, 2, 2)
    joined = side_by_side([long, short])
    assert torch.equal(joined[0], long[0])
    assert torch.equal(joined[1], short[0, [0, 1, 0, 1]])
    assert torch.equal(side_by_side([long]), long)  # windows of one length: the published statistic
