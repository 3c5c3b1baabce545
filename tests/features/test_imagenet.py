import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from xrarchive.errors import InputDataError
from xrarchive.features import FEATURE_COUNT, imagenet, imagenet_features, imagenet_fingerprint
from xrarchive.features.imagenet import (
    CHANNEL_MEANS,
    CHANNEL_STDS,
    IMAGENET_224,
    INPUT_PX,
    OWN_PX,
    imagenet_space,
    read_network,
)
from xrarchive.features.space import in_three_channels, resize


def films(count, size=32):
    rng = np.random.default_rng(0)
    return np.kron(rng.integers(0, 256, (count, 4, 4)), np.ones((1, size // 4, size // 4))).astype(np.uint8)


def test_features_are_what_a_rectifier_with_a_ceiling_leaves():
    found = imagenet_features(films(5))
    assert found.shape == (5, FEATURE_COUNT)
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() <= 6
    assert found.std(axis=0).max() > 0.1


def test_the_layout_for_speed_changes_no_feature():
    pixels = films(16)
    grey = resize(torch.from_numpy(pixels), INPUT_PX, "bicubic")
    with torch.inference_mode():
        maps = read_network(INPUT_PX).extract_features(
            in_three_channels(grey, CHANNEL_MEANS, CHANNEL_STDS).contiguous()
        )
    np.testing.assert_allclose(imagenet_features(pixels), maps.mean(dim=(2, 3)).numpy(), atol=1e-4)


def test_nothing_is_drawn_warned_printed_or_left_switched_off(capsys):
    state = torch.random.get_rng_state()
    threads = torch.get_num_threads()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        imagenet_features(films(1))
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.is_grad_enabled()
    assert torch.get_num_threads() == threads
    assert capsys.readouterr() == ("", "")


def test_the_fingerprint_is_of_the_packaged_weights():
    assert imagenet_fingerprint() == "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def test_the_networks_own_size_is_a_space_of_its_own():
    large = imagenet_space(OWN_PX)
    assert large.name == IMAGENET_224
    assert "224 px" in large.title
    assert large.fingerprint == imagenet_fingerprint()
    assert large.load()(films(16, 256)).shape == (16, FEATURE_COUNT)


def test_broken_weights_are_refused_with_a_fix(tmp_path, monkeypatch):
    broken = tmp_path / "w.pth"
    broken.write_bytes(b"no weights")
    monkeypatch.setattr(imagenet, "_weights_path", lambda: broken)
    with pytest.raises(InputDataError, match="cannot be used") as caught:
        imagenet_features(films(1))
    assert "pip install" in caught.value.fix


def test_validation_never_imports_torch():
    code = "import sys, pkgutil, importlib, xrarchive.validation as v\n"
    code += "[importlib.import_module(f'xrarchive.validation.{m.name}') for m in pkgutil.iter_modules(v.__path__)]\n"
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
