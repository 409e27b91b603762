"""Settings: what is written is what is read, and a slip is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldmodel.config import EncoderConfig, LossConfig, ModelConfig, OneStepConfig, PrefixConfig, TrainConfig
from worldmodel.errors import BadFile, BadValue, UnknownName
from worldmodel.plain import from_dict, to_dict
from worldmodel.run import RunConfig, read_config, write_config


@settings(deadline=None)
@given(
    st.builds(
        RunConfig,
        env=st.sampled_from(["pusht", "two-room"]),
        recipe=st.just("wm"),
        preset=st.just("nano"),
        dataset=st.text(st.characters(categories=("L", "N")), max_size=20),
        model=st.builds(
            ModelConfig,
            latent_dim=st.integers(1, 256).map(lambda quarter: 4 * quarter),
            one_step=st.none() | st.builds(OneStepConfig, dropout=st.floats(0, 0.9)),
            prefix=st.none() | st.builds(PrefixConfig, max_prefix=st.integers(1, 64)),
        ),
        loss=st.builds(LossConfig, sigreg=st.floats(0, 10)),
        train=st.builds(TrainConfig, minutes=st.floats(0, 1e4), lr=st.floats(1e-8, 1)),
    )
)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, config: RunConfig) -> None:
    assert from_dict(RunConfig, to_dict(config)) == config
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    write_config(path, config)
    assert read_config(path) == config


def test_a_slip_is_named_with_the_nearest_setting() -> None:
    with pytest.raises(UnknownName, match="unknown setting encoder 'widht': did you mean 'width'"):
        from_dict(ModelConfig, {"encoder": {"widht": 3}})
    with pytest.raises(BadValue, match="encoder.width: expected int, got 'wide'"):
        from_dict(ModelConfig, {"encoder": {"width": "wide"}})
    with pytest.raises(BadValue, match="expected a table of settings"):
        from_dict(ModelConfig, [1])
    with pytest.raises(BadValue, match="learned: expected a list, got 'abc'"):
        from_dict(RunConfig, {"learned": "abc"})
    with pytest.raises(UnknownName, match="unknown setting  '3'"):
        from_dict(ModelConfig, {3: 3})
    assert from_dict(TrainConfig, {"lr": "1e-3"}).lr == 1e-3  # as YAML reads it
    with pytest.raises(BadValue, match="lr: expected float, got 'fast'"):
        from_dict(TrainConfig, {"lr": "fast"})


def test_names_are_looked_up_before_anything_is_done() -> None:
    with pytest.raises(UnknownName, match="unknown model.encoder.kind 'cnnn': did you mean 'cnn'"):
        EncoderConfig(kind="cnnn")
    with pytest.raises(UnknownName, match="unknown train.precision 'bf17': did you mean 'bf16'"):
        TrainConfig(precision="bf17")


@pytest.mark.parametrize("minutes", [-5.0, float("inf"), float("nan")])
def test_a_training_by_the_clock_has_an_end(minutes: float) -> None:
    with pytest.raises(BadValue, match="train.minutes: expected 0 for no limit"):
        TrainConfig(minutes=minutes)


def test_a_file_that_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="no such configuration"):
        read_config(tmp_path / "config.yaml")
    for text in ("a: [", "a: 1", "\x00"):
        (tmp_path / "config.yaml").write_text(text)
        with pytest.raises(BadFile, match="config.yaml"):
            read_config(tmp_path / "config.yaml")
