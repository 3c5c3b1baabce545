"""The verified loader: what it gives is what was packed, and nothing damaged is served."""

from __future__ import annotations

import random
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from datasets import load_dataset
from made_archive import FINDINGS

import xrarchive
from xrarchive.archive.changing import split, withdraw
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


def test_labels_are_filtered_by_name(archive: Path) -> None:
    masses = xrarchive.load(archive, split="train", filters=[("label", "==", "Mass")])
    assert set(masses["label"]) == {FINDINGS.index("Mass")}
    assert len(masses) == 4
    both = xrarchive.load(
        archive, split="train", filters=[("label", "in", ["Mass", "Effusion"]), ("soft_label", ">", 0.5)]
    )
    assert len(both) == 6
    assert len(xrarchive.load(archive, split="train", filters=[("label", "!=", 0), ("Mass", "==", True)])) == 6


@pytest.mark.parametrize(
    ("given", "named"), [(("label", "==", "Masses"), "Masses"), (("labels", "==", "Mass"), "labels")]
)
def test_a_filter_on_what_is_not_there_is_named(archive: Path, given: tuple[str, str, str], named: str) -> None:
    with pytest.raises(InputDataError, match=named):
        xrarchive.load(archive, split="train", filters=[given])


def test_some_images_by_id_and_those_withdrawn_are_named(archive: Path, caplog: pytest.LogCaptureFixture) -> None:
    ids = xrarchive.load(archive, split="train")["image_id"][:]
    assert xrarchive.load(archive, split="train", ids=[ids[4], ids[1]])["image_id"][:] == [ids[1], ids[4]]
    withdraw(archive, ids=[ids[2]], reason="burned-in text", date="2026-01-02")
    with pytest.raises(InputDataError, match=rf"{re.escape(ids[2])} \(withdrawn in 2\.0\.0: burned-in text\)"):
        xrarchive.load(archive, split="train", ids=ids[:4])
    with pytest.raises(InputDataError, match=r"s9-Mass-000000 \(never there\)"):
        xrarchive.load(archive, ids=["s9-Mass-000000"])
    caplog.set_level("INFO", "xrarchive")
    assert len(xrarchive.load(archive, split="train")) == 8
    assert "1 images were withdrawn by version 2.0.0" in caplog.text


def test_streaming_gives_the_same_rows_and_no_altered_byte(archive: Path) -> None:
    rows = xrarchive.load(archive, split="train", streaming=True, filters=[("label", "==", "Mass")])
    assert [row["image_id"] for row in rows] == [f"s3-Mass-00000{number}" for number in range(4)]
    shard = archive / "data" / "train-00000.parquet"
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(DamageError, match="train-00000"):
        xrarchive.load(archive, split="train", streaming=True)


def test_a_version_in_a_published_folder(archive: Path, tmp_path: Path) -> None:
    share = tmp_path / "share" / "clinic" / "chests"
    shutil.copytree(archive, share / "v1.0.0")
    withdraw(archive, ids=["s3-Mass-000000"], reason="blurred", date="2026-01-02")
    shutil.copytree(archive, share / "v10.0.0")
    assert len(xrarchive.load(share, revision="v1.0.0", split="train")) == 9
    assert len(xrarchive.load(share, revision="v10.0.0", split="train")) == 8
    with pytest.raises(InputDataError, match=r"several versions .*: v1\.0\.0, v10\.0\.0\.") as caught:
        xrarchive.load(share)
    assert caught.value.fix == 'Name one: revision="v10.0.0".'
    with pytest.raises(InputDataError, match=r"no version 'v2\.0\.0', only: v1\.0\.0, v10\.0\.0"):
        xrarchive.load(share, revision="v2.0.0")
    with pytest.raises(InputDataError, match="it is one folder"):
        xrarchive.load(archive, revision="v1.0.0")
