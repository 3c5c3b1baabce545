from __future__ import annotations

import importlib.util
import json
import logging
from pathlib import Path

import pytest
import torch
import yaml

from xrarchive.errors import InputDataError, PlanChangedError
from xrarchive.gan import exporting
from xrarchive.gan.networks import Generator
from xrarchive.gan.pretrained import PretrainedGenerator
from xrarchive.gan.settings import GeneratorSettings
from xrarchive.gan.snapshots import load_snapshot, save_snapshot
from xrarchive.weights import describe_weights, save_weights


def test_an_exported_folder_gives_the_same_images_bit_for_bit(tiny_generator: Path, tmp_path: Path) -> None:
    report = exporting.export_weights(tiny_generator, tmp_path / "out")
    assert list(report.files) == ["README.md", "config.json", "model.safetensors"]
    snapshot = load_snapshot(tiny_generator)
    loaded = PretrainedGenerator.from_pretrained(tmp_path / "out")
    latents = torch.randn(5, snapshot.settings.latent_size, generator=torch.manual_seed(1))
    with torch.inference_mode():
        assert torch.equal(loaded(latents), snapshot.generator(latents))
    assert not loaded.training
    head = (tmp_path / "out" / "README.md").read_text().split("---")[1]
    assert yaml.safe_load(head)["library_name"] == "xrarchive"
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["resolution"] == 16
    assert not list(tmp_path.glob(".tmp-*"))


def test_a_colour_generator_without_dense_norm_survives_as_well(tmp_path: Path) -> None:
    settings = GeneratorSettings(resolution=16, channels=3, latent_size=4, width_max=4, width_base=64, dense_norm=False)
    generator = Generator(settings)
    path = tmp_path / "g.safetensors"
    save_snapshot(path, generator, None, nimg=0, origin={"terms": []}, dtype=torch.float32)
    exporting.export_weights(path, tmp_path / "out")
    latents = torch.randn(2, 4)
    with torch.inference_mode():
        loaded = PretrainedGenerator.from_pretrained(str(tmp_path / "out"))
        assert torch.equal(loaded(latents), load_snapshot(path).generator(latents))
    assert "no recorded terms" in (tmp_path / "out" / "README.md").read_text()


def test_a_folder_with_files_is_left_alone(tiny_generator: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(PlanChangedError, match="holds files"):
        exporting.export_weights(tiny_generator, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def test_onnx_gives_the_same_images_for_any_batch(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    settings = GeneratorSettings(
        resolution=16, channels=3, latent_size=4, width_max=16, width_base=256, dense_norm=False
    )  # with 4 channels the norm of a feature can be so small that rounding alone is 1e-4
    path = tmp_path / "g.safetensors"
    torch.manual_seed(5)
    save_snapshot(path, Generator(settings), None, nimg=0, origin={"terms": []}, dtype=torch.float32)
    exporting.export_weights(path, tmp_path / "out", onnx=True)
    session = onnxruntime.InferenceSession(tmp_path / "out" / "generator.onnx", providers=["CPUExecutionProvider"])
    generator = load_snapshot(path).generator
    for count in (1, 2, 5):
        latents = torch.randn(count, 4)
        (images,) = session.run(["images"], {"latents": latents.numpy()})
        torch.testing.assert_close(torch.from_numpy(images), generator(latents), atol=1e-4, rtol=0)
    assert logging.getLogger("torch.onnx").level == logging.NOTSET


def test_onnx_without_its_packages_names_the_extra(
    tiny_generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(InputDataError, match="onnxscript, which is not installed") as caught:
        exporting.export_weights(tiny_generator, tmp_path / "out", onnx=True)
    assert "xrarchive[onnx]" in caught.value.fix
    assert not (tmp_path / "out").exists()


def test_a_description_counts_each_network(tiny_generator: Path, tmp_path: Path) -> None:
    found = describe_weights(tiny_generator)
    networks = load_snapshot(tiny_generator)
    count = sum(value.numel() for value in networks.generator.state_dict().values())
    assert found["networks"]["generator"] == {"parameters": count, "bytes": 2 * count, "dtypes": ["float16"]}
    assert set(found["networks"]) == {"generator", "discriminator"}
    assert (found["kind"], found["role"], found["figures"]) == ("generator", None, {})
    assert found["sha256"] == networks.sha256
    save_weights(
        tmp_path / "c.safetensors",
        {"member0.a": torch.ones(3), "scale": torch.ones(2)},
        kind="classifier",
        meta={"role": "guide", "figures": {"Mass": {"cross_fitted": None}}},
        dtype=torch.float32,
    )
    found = describe_weights(tmp_path / "c.safetensors")
    assert {name: sizes["parameters"] for name, sizes in found["networks"].items()} == {"member0": 3, "calibration": 2}
    assert (found["role"], list(found["figures"])) == ("guide", ["Mass"])
