"""The verified loader: what it gives is what was packed, and nothing damaged is served."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from datasets import load_dataset
from made_archive import FINDINGS

import xrarchive
from xrarchive.archive.changing import split
from xrarchive.archive.manifest import MANIFEST_NAME, read_manifest
from xrarchive.archive.reader import read_pixels
from xrarchive.errors import DamageError, InputDataError


def test_it_gives_what_datasets_gives(archive: Path) -> None:
    ours, theirs = xrarchive.load(archive, split="train"), load_dataset(str(archive), split="train")
    assert ours.features == theirs.features
    assert ours.features["label"].names == list(FINDINGS)
    assert [row["image_id"] for row in ours] == [row["image_id"] for row in theirs]
    assert np.array_equal(np.stack([np.asarray(row["image"]) for row in ours]), read_pixels(archive))


def test_all_splits_and_the_provenance(archive: Path) -> None:
    split(archive, {"train": 0.5, "test": 0.5})
    images, origins = xrarchive.load(archive), xrarchive.load(archive, config="provenance", split="test")
    assert set(images) == {"train", "test"}
    assert origins["image_id"] == images["test"]["image_id"]


@pytest.mark.parametrize("wrong", [{"config": "pixels"}, {"split": "validation"}])
def test_what_is_not_there_is_named(archive: Path, wrong: dict[str, str]) -> None:
    with pytest.raises(InputDataError, match=next(iter(wrong.values()))):
        xrarchive.load(archive, **wrong)


def test_the_manifest_may_be_pinned(archive: Path) -> None:
    right = read_manifest(archive).sha256
    assert len(xrarchive.load(archive, split="train", manifest_sha256=right)) == 9
    with pytest.raises(DamageError, match="expected 0000"):
        xrarchive.load(archive, manifest_sha256="0" * 64)


@pytest.mark.parametrize("flips", [100, pytest.param(2_000, marks=pytest.mark.slow)])
def test_no_altered_byte_of_a_shard_or_the_manifest_is_served(archive: Path, flips: int) -> None:
    rng = random.Random(0)
    contents = {path: path.read_bytes() for path in sorted([*archive.glob("*/*.parquet"), archive / MANIFEST_NAME])}
    paths, sizes = list(contents), [len(content) for content in contents.values()]
    refused = 0
    for path in rng.choices(paths, sizes, k=flips):  # every byte as likely as any other
        good = contents[path]
        place = rng.randrange(len(good))
        path.write_bytes(good[:place] + bytes([good[place] ^ rng.randrange(1, 256)]) + good[place + 1 :])
        config = "provenance" if path.parent.name == "provenance" else "default"
        with pytest.raises(DamageError, match=path.name):
            xrarchive.load(archive, config=config, split="train")
        refused += 1
        path.write_bytes(good)
    assert refused == flips
    assert len(xrarchive.load(archive, split="train")) == 9


def test_a_missing_shard_is_named(archive: Path) -> None:
    (archive / "data" / "train-00001.parquet").unlink()
    with pytest.raises(DamageError, match="train-00001"):
        xrarchive.load(archive)
