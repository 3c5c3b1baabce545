import numpy as np
import pytest
import torch

from xrarchive.classifier import xrv
from xrarchive.classifier.classifier import load_classifier
from xrarchive.errors import InputDataError, SettingsError
from xrarchive.features import densenet, extract_features, imagenet_fingerprint, open_space
from xrarchive.features.spaces import NAMES, WITH_WEIGHTS
from xrarchive.gan.adopt import child, pickles


@pytest.fixture
def judge(tiny_judge):
    return load_classifier(tiny_judge)


def films(count, px):
    return np.random.default_rng(2).integers(0, 256, (count, px, px), np.uint8)


def test_the_judge_is_a_space(judge):
    space, pixels = open_space("judge", judge=judge), films(3, 16)
    assert (space.fingerprint, space.dim) == (judge.sha256, judge.features(pixels).shape[1])
    np.testing.assert_array_equal(extract_features(space, pixels), judge.features(pixels))


def test_imagenet_needs_nothing(judge):
    assert open_space("imagenet", judge=judge).fingerprint == imagenet_fingerprint()


@pytest.mark.parametrize("wanted", ["imagnet", "", "imagenet=weights.pth", "judge=judge.safetensors"])
def test_what_is_no_space_is_refused(wanted, judge):
    with pytest.raises(SettingsError) as caught:
        open_space(wanted, judge=judge)
    assert caught.value.fix


@pytest.mark.usefixtures("_torchvision")
@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_weights_that_are_not_there_are_named_with_a_way_to_get_them(name, judge, tmp_path):
    with pytest.raises(InputDataError, match="nowhere") as caught:
        open_space(f"{name}={tmp_path / 'nowhere'}", judge=judge)
    assert f"--space {name}=" in caught.value.fix


@pytest.mark.usefixtures("_torchvision")
def test_every_name_opens_or_says_what_is_missing(judge, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    for name in NAMES:
        try:
            assert open_space(name, judge=judge).name == name
        except InputDataError as err:
            assert name in WITH_WEIGHTS
            assert name in err.message  # noqa: PT017


@pytest.mark.usefixtures("_torchvision")
def test_xrv_is_their_network_before_its_heads(judge, tmp_path, monkeypatch):
    monkeypatch.setattr(xrv, "INPUT_PX", 32)
    monkeypatch.setattr(
        pickles, "_run_child", lambda _, stream, kind, folder: child.extract(kind, stream, folder, apart=True)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        theirs = xrv.require_xrv().DenseNet(num_classes=18).eval()
    path = tmp_path / "densenet.pt"
    torch.save(theirs.state_dict(), path)
    space, pixels = open_space(f"xrv={path}", judge=judge), films(2, 32)
    with torch.inference_mode():
        expected = theirs.features2((torch.from_numpy(pixels)[:, None] / 127.5 - 1) * 1024).numpy()
    found = extract_features(space, pixels)
    assert found.shape == (2, densenet.FEATURE_COUNT)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-2)
