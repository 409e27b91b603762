"""What a model remembers of its dataset: the command that makes it again, where one command made it."""

from __future__ import annotations

from pathlib import Path

from tests.datasets.episodes import episode
from worldmodel.cli.facts import learned_from
from worldmodel.datasets.collect import collect
from worldmodel.datasets.store import EpisodeStore, write_store


def test_a_collected_dataset_knows_its_command(tmp_path: Path) -> None:
    path = collect("two-room", tmp_path / "a.h5", 3, steps=5, seed=2, workers=1, image_size=16, variation="door")
    with EpisodeStore(path) as store:
        facts = learned_from(store)
    assert (facts["episodes"], facts["rows"], facts["policies"]) == (3, 18, {"door": 3})
    assert facts["command"] == (
        "wm-data collect --env two-room --episodes 3 --steps 5 --seed 2 --image-size 16 --render-preset fast "
        f"--variation door --out {path}"
    )


def test_other_datasets_have_no_command(tmp_path: Path) -> None:
    recipe = {
        "env": "two-room",
        "steps": 19,
        "seed": 0,
        "image_size": 16,
        "render_preset": "fast",
        "policies": {"a": 2},
    }
    for name, attrs in (("plain", {"env": "two-room"}), ("merged", {**recipe, "sources": [{"file": "b.h5"}]})):
        path = write_store(tmp_path / f"{name}.h5", [episode(i, 20, 16) for i in range(2)], attrs)
        with EpisodeStore(path) as store:
            facts = learned_from(store)
        assert "command" not in facts and facts["fingerprint"] and facts["episodes"] == 2
