import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from xrarchive import features
from xrarchive.errors import InputDataError
from xrarchive.features import FEATURE_COUNT, imagenet_features, imagenet_fingerprint
from xrarchive.records import Status


def films(count, size=32):
    rng = np.random.default_rng(0)
    return np.kron(rng.integers(0, 256, (count, 4, 4)), np.ones((1, size // 4, size // 4))).astype(np.uint8)


def test_features_do_not_depend_on_the_batch():
    pixels = films(5)
    seen: list[Status] = []
    together = imagenet_features(pixels, batch=5, on_status=seen.append)
    apart = imagenet_features(pixels, batch=2)
    assert together.shape == (5, FEATURE_COUNT)
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, apart, atol=1e-4)
    assert (seen[-1].done, seen[-1].total) == (5, 5)
    assert together.min() >= 0
    assert together.max() <= 6
    assert together.std(axis=0).max() > 0.1


def test_nothing_is_drawn_warned_printed_or_left_switched_off(capsys):
    state = torch.random.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        imagenet_features(films(1))
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.is_grad_enabled()
    assert capsys.readouterr() == ("", "")


def test_no_images_no_rows():
    assert imagenet_features(films(0)).shape == (0, FEATURE_COUNT)


@pytest.mark.parametrize(
    "pixels", [np.zeros((2, 8, 8), np.float32), np.zeros((8, 8), np.uint8), np.zeros((2, 8, 9), np.uint8)]
)
def test_refuses_what_are_no_pixels(pixels):
    with pytest.raises(ValueError, match="uint8"):
        imagenet_features(pixels)


def test_the_fingerprint_is_of_the_packaged_weights():
    assert imagenet_fingerprint() == "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def test_broken_weights_are_refused_with_a_fix(tmp_path, monkeypatch):
    broken = tmp_path / "w.pth"
    broken.write_bytes(b"no weights")
    monkeypatch.setattr(features, "_weights_path", lambda: broken)
    with pytest.raises(InputDataError, match="cannot be used") as caught:
        imagenet_features(films(1))
    assert "pip install" in caught.value.fix


def test_validation_never_imports_torch():
    code = "import sys, pkgutil, importlib, xrarchive.validation as v\n"
    code += "[importlib.import_module(f'xrarchive.validation.{m.name}') for m in pkgutil.iter_modules(v.__path__)]\n"
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
