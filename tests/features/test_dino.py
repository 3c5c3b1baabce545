"""A tiny seeded DINOv2, saved by transformers itself, stands for the published ones; those are not here."""

import builtins
import json
import socket

import numpy as np
import pytest
import torch

from xrarchive.errors import DamageError, InputDataError
from xrarchive.features import extract_features
from xrarchive.features.dino import PINNED, dino_space

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.usefixtures("_torchvision")
SIDE = 42
PREPARING = {"crop_size": {"height": SIDE, "width": SIDE}, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}


@pytest.fixture(scope="module")
def network(_torchvision):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        settings = transformers.Dinov2Config(
            hidden_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=56, patch_size=14
        )
        return transformers.Dinov2Model(settings).eval()


@pytest.fixture
def folder(network, tmp_path):
    network.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PREPARING))
    return tmp_path


def films(count, px=SIDE):
    return np.random.default_rng(2).integers(0, 256, (count, px, px), np.uint8)


@pytest.mark.parametrize("name", PINNED)
def test_gives_the_class_token_of_the_network(name, network, folder, capsys):
    space, pixels = dino_space(name, folder), films(6)
    images = (torch.from_numpy(pixels)[:, None] / 255 - torch.tensor(PREPARING["image_mean"])[:, None, None]) / (
        torch.tensor(PREPARING["image_std"])[:, None, None]
    )
    with torch.inference_mode():
        expected = network(pixel_values=images, interpolate_pos_encoding=True).last_hidden_state[:, 0].numpy()
    found = extract_features(space, pixels)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert (space.dim, found.shape) == (24, (6, 24))
    assert f"{SIDE} px" in space.title
    assert capsys.readouterr().err == ""


def test_images_of_any_size_are_shown_at_its_own(folder):
    space = dino_space("dinov2", folder)
    small, large = films(1, 21), films(1, 168)
    assert extract_features(space, small).shape == extract_features(space, large).shape == (1, 24)


def test_no_network_is_asked(folder, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    extract_features(dino_space("rad-dino", folder), films(1))


@pytest.mark.parametrize("name", PINNED)
def test_missing_weights_say_how_to_get_them(name, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    with pytest.raises(InputDataError, match="is not in the Hub's cache") as caught:
        dino_space(name)
    assert f"hf download {PINNED[name][0]} --revision {PINNED[name][1]}" in caught.value.fix


def test_the_pinned_revision_is_found_in_the_cache(folder, monkeypatch, tmp_path):
    repo, revision = PINNED["rad-dino"]
    snapshot = tmp_path / "hub" / f"models--{repo.replace('/', '--')}" / "snapshots" / revision
    snapshot.mkdir(parents=True)
    for name in ("model.safetensors", "config.json", "preprocessor_config.json"):
        (snapshot / name).write_bytes((folder / name).read_bytes())
    from huggingface_hub import constants, file_download

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(file_download.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    assert dino_space("rad-dino").fingerprint == dino_space("rad-dino", folder).fingerprint


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "preprocessor_config.json"])
def test_a_folder_that_lacks_a_file_is_refused(name, folder):
    (folder / name).unlink()
    with pytest.raises(InputDataError, match=name):
        dino_space("dinov2", folder)


def test_another_network_is_refused(folder):
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"model_type": "vit"}))
    with pytest.raises(InputDataError, match="'vit', expected 'dinov2'"):
        dino_space("dinov2", folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(DamageError):
        dino_space("dinov2", folder)


def test_weights_of_another_width_are_refused(folder):
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"num_hidden_layers": 3}))
    with pytest.raises(InputDataError, match=r"lacks tensors|cannot be used"):
        extract_features(dino_space("dinov2", folder), films(1))


def test_preparing_that_says_nothing_is_refused(folder):
    (folder / "preprocessor_config.json").write_text("{}")
    with pytest.raises(InputDataError, match="does not say how images are prepared"):
        dino_space("dinov2", folder)


def test_without_transformers_the_message_names_the_extra(folder, monkeypatch):
    space = dino_space("dinov2", folder)
    genuine = builtins.__import__

    def absent(name, *rest, **kwargs):
        if name == "transformers":
            raise ModuleNotFoundError(name="transformers")
        return genuine(name, *rest, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(InputDataError) as caught:
        space.load()
    assert "xrarchive[dino]" in caught.value.fix
