"""Recipes: the published sizes, part by part as documented, and what only they set."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from worldmodel.model import WorldModel
from worldmodel.recipes import PRESETS, RECIPES, settings

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "models.md"
needs_page = pytest.mark.skipif(not PAGE.exists(), reason="docs/ is in the checkout only")


def sizes(recipe: str, action_dim: int = 2) -> dict[str, int]:
    """Parameters of every part of the published model."""
    with torch.device("meta"):
        model = WorldModel(replace(settings(recipe, "paper")[0], action_dim=action_dim))
    (part,) = model.parts.values()
    named = {"encoder": model.encoder, "projector": model.projector, **dict(part.named_children())}
    found = {name: sum(x.numel() for x in module.parameters()) for name, module in named.items()}
    found |= {name: x.numel() for name, x in part.named_parameters(recurse=False)}
    assert sum(found.values()) == sum(x.numel() for x in model.parameters())
    return found | {"total": sum(x.numel() for x in model.parameters())}


def test_the_published_sizes() -> None:
    lewm = sizes("lewm")
    assert lewm["total"] == 18_034_478 and sizes("lewm", 5)["total"] == 18_034_628
    assert (lewm["encoder"], lewm["projector"], lewm["head"]) == (5_501_376, 792_768, 792_768)
    assert lewm["action"] == 156_206 and sizes("lewm", 5)["action"] == 156_356
    assert lewm["position"] + lewm["blocks"] + lewm["norm"] == 10_791_360  # what 2603.19312 calls the predictor
    fast = sizes("fast-lewm")
    assert fast["total"] == 17_913_184 and sizes("fast-lewm", 5)["total"] == 17_913_664
    tokens = sum(fast[name] for name in ("action", "state", "layers", "norm_layers", "norm_prefix"))
    assert (tokens, fast["fusion"] + fast["blocks"] + fast["norm"]) == (1_802_848, 9_023_424)


@needs_page
@pytest.mark.parametrize(("recipe", "title"), [("lewm", "LeWM"), ("fast-lewm", "Fast-LeWM")])
def test_the_layer_table_is_true(recipe: str, title: str) -> None:
    section = PAGE.read_text().split(f"## {title}, layer by layer")[1].split("## ")[0]
    rows = re.findall(r"^\| `?(\w+)`? \| .* \| ([\d,]+) \|$", section, flags=re.MULTILINE)
    assert {name: int(count.replace(",", "")) for name, count in rows} == sizes(recipe)
    assert f"{sizes(recipe, 5)['total']:,} where a = 5" in section


@needs_page
def test_the_parity_table_is_what_was_measured() -> None:
    rows = json.loads((ROOT / "benchmarks" / "results" / "parity.json").read_text())["rows"]
    names = ("latents", "predictions", "rollout", "sigreg", "loss")
    assert all(row[name] < 1e-5 for row in rows for name in names)
    for row in rows:
        about = " | ".join(row[name] for name in ("model", "weights", "transformers"))
        assert f"| {about} | {' | '.join(f'{row[name]:.1e}' for name in (*names, 'gradients'))} |" in PAGE.read_text()


def test_the_published_run_stops_a_tenth_into_its_schedule() -> None:
    for recipe in RECIPES:
        for preset in PRESETS:
            published = (recipe, preset) == ("lewm", "paper")
            assert settings(recipe, preset)[2].schedule == (10 if published else 1)
    train = settings("lewm", "paper")[2]
    where = (1 / train.schedule - train.warmup) / (1 - train.warmup)
    assert 0.5 * (1 + math.cos(math.pi * where)) == pytest.approx(0.98, abs=0.001)


@pytest.mark.parametrize("preset", PRESETS)
def test_fast_lewm_starts_at_the_first_frame_and_takes_short_windows(preset: str) -> None:
    for recipe in RECIPES:
        model, _, train = settings(recipe, preset)
        assert train.ragged == (recipe == "fast-lewm")
        assert model.prefix is None or model.prefix.every_start == (recipe != "fast-lewm")


def test_pictures_are_moved_where_episodes_are_few() -> None:
    for preset in PRESETS:
        moving = [name for name in RECIPES if settings(name, preset, few_episodes=True)[2].shift]
        assert moving == ["wm"] and not settings("wm", preset)[2].shift


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_names_its_sources_and_deviations(recipe: str) -> None:
    text = type(RECIPES[recipe]).__doc__ or ""
    assert recipe == "wm" or ("Deviations:" in text and re.search(r"260\d\.\d{5}", text))


def test_ten_epochs_of_the_published_files() -> None:
    rows, episodes = 2_336_736, 18_685
    windows = {"lewm": rows - 19 * episodes, "fast-lewm": rows - 5 * episodes}
    for recipe, count in windows.items():
        assert settings(recipe, "paper")[2].steps == pytest.approx(10 * 0.9 * count / 128, rel=0.003)
