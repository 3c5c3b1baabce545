from __future__ import annotations

from pathlib import Path

import pytest
import torch

from xrarchive.errors import InputDataError
from xrarchive.gan.settings import GeneratorSettings
from xrarchive.gan.snapshots import load_snapshot, save_snapshot
from xrarchive.gan.state import new_state
from xrarchive.weights import load_weights, save_weights


def test_a_snapshot_renders_as_the_averaged_generator_does(settings: GeneratorSettings, tmp_path: Path) -> None:
    state = new_state(settings)
    save_snapshot(tmp_path / "g.safetensors", state.averaged, state.discriminator, nimg=8, origin={"terms": ["x"]})
    snapshot = load_snapshot(tmp_path / "g.safetensors")
    latents = torch.randn(4, settings.latent_size, generator=torch.manual_seed(0))
    assert snapshot.settings == settings
    assert snapshot.meta["terms"] == ["x"]
    torch.testing.assert_close(snapshot.generator(latents), state.averaged(latents), atol=0.03, rtol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resolution": 48}, "resolution must be one of"),
        ({"depth": 3}, "depth"),
        ({"width_max": 6}, "tensors do not fit"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    tiny_generator: Path, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    weights = load_weights(tiny_generator, kind="generator")
    meta = weights.meta | {"settings": weights.meta["settings"] | change}
    rest = {key: value for key, value in meta.items() if key not in ("kind", "format")}
    save_weights(tmp_path / "x.safetensors", weights.tensors, kind="generator", meta=rest, dtype=torch.float16)
    with pytest.raises(InputDataError, match=message):
        load_snapshot(tmp_path / "x.safetensors")
