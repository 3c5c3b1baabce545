import os

import numpy as np
import pytest
import torch

from xrarchive.features import Space, extracting
from xrarchive.features.cache import FeatureCache
from xrarchive.features.extracting import BLOCK, extract_features
from xrarchive.features.imagenet import imagenet_space
from xrarchive.records import Status


def films(count, size=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size), np.uint8)


class Network:
    """Mean and largest pixel of each image; remembers what it was shown."""

    def __init__(self):
        self.loads, self.shapes, self.threads = 0, [], set()

    def load(self):
        self.loads += 1
        return self

    def __call__(self, pixels):
        self.shapes.append(pixels.shape)
        self.threads.add(torch.get_num_threads())
        flat = pixels.reshape(len(pixels), -1)
        return np.stack([flat.mean(axis=1), flat.max(axis=1)], axis=1).astype(np.float32)

    def space(self, **changes):
        values = {"name": "toy", "title": "a toy", "dim": 2, "fingerprint": "f" * 64, "load": self.load, "batch": 5}
        return Space(**(values | changes))


@pytest.mark.parametrize("count", [0, 1, 5, BLOCK - 1, BLOCK, 2 * BLOCK + 7])
@pytest.mark.parametrize("workers", [1, 3, None])
def test_every_image_gets_its_row(count, workers):
    network, pixels = Network(), films(count)
    found = extract_features(network.space(), pixels, workers=workers)
    assert found.shape == (count, 2)
    np.testing.assert_array_equal(found[:, 1], pixels.reshape(count, -1).max(axis=1) if count else [])
    assert set(network.shapes) <= {(5, 8, 8)}
    assert network.loads == (1 if count else 0)
    assert network.threads <= {1}


def test_neither_workers_nor_neighbours_change_a_number():
    space, pixels = imagenet_space(), films(40, 32)
    together = extract_features(space, pixels, workers=2)
    np.testing.assert_array_equal(together, extract_features(space, pixels, workers=1))
    np.testing.assert_array_equal(together[:3], extract_features(space, pixels[:3], workers=1))


def test_says_how_far_it_is():
    seen: list[Status] = []
    extract_features(Network().space(), films(BLOCK + 1), on_status=seen.append)
    assert [(s.done, s.total) for s in seen] == [(BLOCK, BLOCK + 1), (BLOCK + 1, BLOCK + 1)]


@pytest.mark.parametrize(
    "pixels", [np.zeros((2, 8, 8), np.float32), np.zeros((8, 8), np.uint8), np.zeros((2, 8, 9), np.uint8)]
)
def test_refuses_what_are_no_pixels(pixels):
    with pytest.raises(ValueError, match="uint8"):
        extract_features(Network().space(), pixels)


def test_what_was_computed_is_found_again(tmp_path):
    network, cache, pixels = Network(), FeatureCache(tmp_path / "cache"), films(BLOCK + 9)
    first = extract_features(network.space(), pixels, cache=cache)
    np.testing.assert_array_equal(extract_features(network.space(), pixels, cache=cache), first)
    assert network.loads == 1
    extract_features(network.space(), np.concatenate([pixels[:BLOCK], films(3, seed=1)]), cache=cache)
    assert network.loads == 2
    assert len(network.shapes) == -(-BLOCK // 5) + 2 + 1


@pytest.mark.parametrize("change", [{"fingerprint": "e" * 64}, {"name": "other"}, {"title": "another side"}])
def test_another_network_finds_nothing(tmp_path, change):
    network, cache, pixels = Network(), FeatureCache(tmp_path), films(4)
    extract_features(network.space(), pixels, cache=cache)
    extract_features(network.space(**change), pixels, cache=cache)
    assert network.loads == 2


def test_another_image_finds_nothing(tmp_path):
    network, cache, pixels = Network(), FeatureCache(tmp_path), films(4)
    extract_features(network.space(), pixels, cache=cache)
    pixels[3, 0, 0] ^= 1
    extract_features(network.space(), pixels, cache=cache)
    extract_features(network.space(), pixels.reshape(16, 4, 4), cache=cache)
    assert network.loads == 3


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"nonsense" * 99])
def test_a_damaged_block_is_computed_again(tmp_path, damage):
    network, cache, pixels = Network(), FeatureCache(tmp_path), films(4)
    first = extract_features(network.space(), pixels, cache=cache)
    (path,) = tmp_path.rglob("*.npy")
    path.write_bytes(damage)
    np.testing.assert_array_equal(extract_features(network.space(), pixels, cache=cache), first)
    assert network.loads == 2
    assert path.read_bytes() != damage


def test_a_cache_that_cannot_be_written_is_no_cache(tmp_path):
    (tmp_path / "file").write_text("in the way")
    found = extract_features(Network().space(), films(4), cache=FeatureCache(tmp_path / "file" / "cache"))
    assert found.shape == (4, 2)


def test_the_cache_keeps_to_its_size(tmp_path):
    cache = FeatureCache(tmp_path, max_bytes=3 * (128 + 4 * 8))
    network = Network()
    for seed in range(5):
        extract_features(network.space(), films(4, seed=seed), cache=cache)
        for path in tmp_path.rglob("*.npy"):
            stat = path.stat()
            os.utime(path, (stat.st_atime, stat.st_mtime - 100))
    extract_features(network.space(), films(4, seed=0), cache=cache)  # the oldest, asked for again
    assert cache.tidy() == 2
    assert len(list(tmp_path.rglob("*.npy"))) == 3
    before = network.loads
    extract_features(network.space(), films(4, seed=0), cache=cache)
    assert network.loads == before
    extract_features(network.space(), films(4, seed=1), cache=cache)
    assert network.loads == before + 1


def test_blocks_are_independent():
    network, pixels = Network(), films(3 * BLOCK)
    rows = [rows for rows, _ in extracting.extract_blocks(network.space(), pixels, workers=1, cache=None, only=[2, 0])]
    assert rows == [slice(2 * BLOCK, 3 * BLOCK), slice(0, BLOCK)]
