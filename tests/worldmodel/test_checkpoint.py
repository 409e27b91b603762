"""Model folders: equal across processes, and one clear line for everything that is not one."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import worldmodel
from tests.worldmodel.tiny import dot_batch, tiny_model
from worldmodel.checkpoint import FORMAT, for_planning, load_model, read_about, save_model
from worldmodel.errors import BadFile, UnknownName
from worldmodel.interfaces import Context

_ELSEWHERE = """
import sys, torch, worldmodel
from tests.worldmodel.tiny import dot_batch
model = worldmodel.load(sys.argv[1])
with torch.no_grad():
    torch.save(model.encode(dot_batch(0)), sys.argv[2])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = tiny_model()
    model.set_actions([0.1, 0.2], [0.3, 0.4], [-1, -1], [1, 1])
    save_model(tmp_path / "run" / "model", model, env="two-room", steps=3)
    return tmp_path / "run" / "model"


def test_another_process_loads_the_same_model(folder: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    subprocess.run(
        [sys.executable, "-c", "import torch; torch.set_num_threads(1)" + _ELSEWHERE, folder, tmp_path / "z.pt"],
        check=True,
    )
    with torch.no_grad():
        assert torch.equal(torch.load(tmp_path / "z.pt"), load_model(folder).encode(dot_batch(0)))
    torch.set_num_threads(threads)


def test_a_run_folder_will_do_and_everything_is_remembered(folder: Path) -> None:
    model = worldmodel.load(str(folder.parent))
    assert not model.training
    assert model.config == tiny_model().config
    torch.testing.assert_close(model.action_std, torch.tensor([0.3, 0.4]))
    about = read_about(folder)
    assert about["env"] == "two-room" and about["steps"] == 3 and about["format"] == FORMAT
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_bf16_rounds_matrices_and_nothing_else(tmp_path: Path) -> None:
    model = tiny_model(reward=8)
    model.set_actions([0.123456, 0.2], [0.3, 0.456789], [-1, -1], [1, 1])
    model.reward_scale.fill_(1.23456789)
    save_model(tmp_path / "half", model, precision="bf16")
    save_model(tmp_path / "whole", model)
    written = load_file(tmp_path / "half" / "model.safetensors")
    assert {str(x.dtype) for x in written.values()} == {"torch.bfloat16", "torch.float32", "torch.int64"}
    rounded = load_model(tmp_path / "half")
    for name, x in model.state_dict().items():
        matrix = name in dict(model.named_parameters()) and x.ndim > 1
        assert written[name].dtype == (torch.bfloat16 if matrix else x.dtype)
        assert torch.equal(rounded.state_dict()[name], x.bfloat16().float() if matrix else x)
    assert rounded.about == {"precision": "bf16"} and load_model(tmp_path / "whole").about == {"precision": "fp32"}
    with pytest.raises(UnknownName, match="unknown precision 'fp16'"):
        save_model(tmp_path / "none", model, precision="fp16")


def test_a_rounded_model_sees_and_predicts_nearly_the_same(tmp_path: Path) -> None:
    model, batch = tiny_model(), dot_batch(0)
    save_model(tmp_path / "half", model, precision="bf16")
    with torch.no_grad():
        for name in model.predictors:
            found = []
            for one in (model, load_model(tmp_path / "half")):
                z, a = one.encode(batch), one.normalise(batch["action"])
                found += [z, one.predictor(name).rollout(Context(z[:, :2], a[:, :1]), a[:, None, 1:])]
            spread = found[0].std()
            assert 0 < (found[0] - found[2]).abs().max() < 0.05 * spread
            assert 0 < (found[1] - found[3]).abs().max() < 0.05 * spread


def test_for_planning_leaves_out_what_only_training_needs(tmp_path: Path) -> None:
    model, batch = tiny_model(inverse=8), dot_batch(0)
    model.about = {"steps": 3}
    slim = for_planning(model)
    assert slim.config == replace(model.config, inverse=0) and slim.about == {"steps": 3} and not slim.training
    left_out = model.state_dict().keys() - slim.state_dict().keys()
    assert left_out and all(name.startswith("inverse.") for name in left_out)
    with torch.no_grad():
        assert torch.equal(slim.encode(batch), model.encode(batch))


def edit(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_is_not_a_model_is_refused_in_one_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="no such model"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(BadFile, match="holds no model"):
        load_model(tmp_path)
    edit(folder, format=FORMAT + 1)
    with pytest.raises(BadFile, match="upgrade worldmodel"):
        load_model(folder)
    edit(folder, format=FORMAT, model={"laten_dim": 3})
    with pytest.raises(BadFile, match="did you mean 'latent_dim'"):
        load_model(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(BadFile, match="not readable JSON"):
        load_model(folder)


def test_damaged_weights_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(BadFile, match="damaged"):
        load_model(folder)
    weights.unlink()
    with pytest.raises(BadFile, match="lacks model.safetensors"):
        load_model(folder)


def test_weights_of_another_shape_are_refused(folder: Path, tmp_path: Path) -> None:
    save_model(tmp_path / "other", tiny_model(latent_dim=8))
    (folder / "model.safetensors").write_bytes((tmp_path / "other" / "model.safetensors").read_bytes())
    with pytest.raises(BadFile, match="do not fit"):
        load_model(folder)
