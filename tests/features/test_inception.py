"""Our graph of the FID's Inception against pytorch-fid's, with the same random weights; their weights are not here."""

import hashlib

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from xrarchive.errors import InputDataError
from xrarchive.features import inception
from xrarchive.features.inception import FILE_NAMES, Inception, inception_space, load_inception, prepare


def filled(network):
    """Seeded weights with which signals neither die nor explode on their way."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(5)
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight)
            elif isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.8, 1.2)
                module.weight.uniform_(0.8, 1.2)
                module.bias.normal_(0, 0.1)
    return network


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / FILE_NAMES[0]
    torch.save(filled(Inception()).state_dict(), path)
    return path


def films(count, px):
    return np.random.default_rng(2).integers(0, 256, (count, px, px), np.uint8)


def test_the_tensors_are_those_of_the_published_file():
    state = Inception().state_dict()
    learned = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    assert len(learned) == 94 * 5 + 2  # weight, and four of each norm; the last layer has a bias
    assert sum(tensor.numel() for tensor in learned.values()) == 23_885_392
    assert state["Mixed_6e.branch7x7dbl_4.conv.weight"].shape == (192, 192, 7, 1)
    assert state["Mixed_7c.branch3x3dbl_3a.conv.weight"].shape == (384, 384, 1, 3)
    assert state["fc.weight"].shape == (1008, 2048)


@pytest.mark.usefixtures("_torchvision")
@pytest.mark.parametrize("px", [64, 299, 320])
def test_agrees_with_pytorch_fid(px, weights, monkeypatch):
    theirs = pytest.importorskip("pytorch_fid.inception", exc_type=ImportError)
    monkeypatch.setattr(theirs, "load_state_dict_from_url", lambda *_, **__: torch.load(weights, weights_only=True))
    network, pixels = theirs.InceptionV3().eval(), films(2, px)
    images = torch.from_numpy(pixels)[:, None].repeat(1, 3, 1, 1) / 255
    if px > inception.INPUT_PX:  # they shrink without antialiasing: shown the same images, the networks agree
        network.resize_input, images = False, (prepare(torch.from_numpy(pixels)) + 1) / 2
    with torch.inference_mode():
        expected = network(images)[0].flatten(1).numpy()
    found = load_inception(weights)(pixels)
    assert found.shape == (2, 2048)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_the_graph_written_down_a_second_time(weights):
    """Where pytorch-fid is not installed, this is what we hold ourselves to: its forward passes, as functions."""
    state = torch.load(weights, weights_only=True)
    pixels = films(1, 299)
    expected = by_functions(state, prepare(torch.from_numpy(pixels))).numpy()
    np.testing.assert_allclose(load_inception(weights)(pixels), expected, rtol=1e-4, atol=1e-5 * expected.max())


def by_functions(state, x):
    def conv(x, name, stride=1, padding=0):
        y = F.conv2d(x, state[f"{name}.conv.weight"], stride=stride, padding=padding)
        norm = (state[f"{name}.bn.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.relu(F.batch_norm(y, *norm, eps=0.001))

    def chain(x, block, *names, last_stride=1, last_padding=None):
        for place, name in enumerate(names):
            kernel = state[f"{block}.{name}.conv.weight"].shape[2:]
            last = place == len(names) - 1
            padding = tuple(side // 2 for side in kernel)
            if last and last_padding is not None:
                padding = last_padding
            x = conv(x, f"{block}.{name}", last_stride if last else 1, padding)
        return x

    def average(x):
        return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)

    with torch.inference_mode():
        x = conv(conv(conv(x, "Conv2d_1a_3x3", 2), "Conv2d_2a_3x3"), "Conv2d_2b_3x3", padding=1)
        x = conv(conv(F.max_pool2d(x, 3, 2), "Conv2d_3b_1x1"), "Conv2d_4a_3x3")
        x = F.max_pool2d(x, 3, 2)
        for b in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
            triple = chain(x, b, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")
            five = chain(x, b, "branch5x5_1", "branch5x5_2")
            x = torch.cat([chain(x, b, "branch1x1"), five, triple, chain(average(x), b, "branch_pool")], 1)
        shrink = {"last_stride": 2, "last_padding": 0}
        triple = chain(x, "Mixed_6a", "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3", **shrink)
        x = torch.cat([chain(x, "Mixed_6a", "branch3x3", **shrink), triple, F.max_pool2d(x, 3, 2)], 1)
        for b in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
            seven = chain(x, b, "branch7x7_1", "branch7x7_2", "branch7x7_3")
            double = chain(x, b, *(f"branch7x7dbl_{step}" for step in range(1, 6)))
            x = torch.cat([chain(x, b, "branch1x1"), seven, double, chain(average(x), b, "branch_pool")], 1)
        three = chain(x, "Mixed_7a", "branch3x3_1", "branch3x3_2", **shrink)
        seven = chain(x, "Mixed_7a", *(f"branch7x7x3_{step}" for step in range(1, 5)), **shrink)
        x = torch.cat([three, seven, F.max_pool2d(x, 3, 2)], 1)
        for b in ("Mixed_7b", "Mixed_7c"):
            three = chain(x, b, "branch3x3_1")
            triple = chain(x, b, "branch3x3dbl_1", "branch3x3dbl_2")
            wide = [chain(three, b, "branch3x3_2a"), chain(three, b, "branch3x3_2b")]
            wide += [chain(triple, b, "branch3x3dbl_3a"), chain(triple, b, "branch3x3dbl_3b")]
            pooled = average(x) if b == "Mixed_7b" else F.max_pool2d(x, 3, 1, 1)
            x = torch.cat([chain(x, b, "branch1x1"), *wide, chain(pooled, b, "branch_pool")], 1)
        return x.mean(dim=(2, 3))


def test_other_weights_are_refused(weights, monkeypatch):
    with pytest.raises(InputDataError, match="expected sha256 6726825d0af5") as caught:
        inception_space(weights)
    assert "https://" in caught.value.fix
    monkeypatch.setattr(inception, "SHA256", hashlib.sha256(weights.read_bytes()).hexdigest())
    assert inception_space(weights).dim == 2048


def test_missing_weights_say_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(InputDataError, match="are not at") as caught:
        inception_space()
    assert "curl" in caught.value.fix
    assert "--space inception=FILE" in caught.value.fix


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04"])
def test_a_file_that_is_no_network_is_refused(tmp_path, content):
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(InputDataError, match="cannot be used"):
        load_inception(path)
