"""The README's Python runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from worldmodel.checkpoint import save_model
from worldmodel.model import WorldModel
from worldmodel.recipes import settings

README = Path(__file__).parent.parent / "README.md"


def test_the_python_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not README.exists():
        pytest.skip("the README is in the checkout only, and this run has the tests alone")
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    torch.manual_seed(0)
    save_model(tmp_path / "runs" / "pusht" / "model", WorldModel(settings("wm", "nano")[0]), env="pusht")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(block, names)
    assert names["over"] is True
