"""A Hub's dataset of real films as a source: images and labels in columns, fetched by name and revision only."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from loopback import LoopbackHub
from PIL import Image
from repositories import Repository

from xrarchive.errors import AccessError, InputDataError
from xrarchive.radiographs import Choices, ingest, open_set
from xrarchive.radiographs.layouts import read_listing

CLASSES = {"label": {"names": ["NORMAL", "PNEUMONIA"], "_type": "ClassLabel"}}


def image(index: int) -> dict[str, Any]:
    stream = io.BytesIO()
    Image.fromarray(np.full((32, 32), index * 9, np.uint8)).save(stream, "PNG")
    return {"bytes": stream.getvalue(), "path": f"{index}.png"}


def shard(columns: dict[str, list[Any]], features: dict[str, Any] | None = None) -> bytes:
    """A Parquet file of as many films as the columns are long, described as `datasets` does."""
    count = len(next(iter(columns.values())))
    table = pa.table({"image": [image(index) for index in range(count)], **columns})
    if features:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    stream = io.BytesIO()
    pq.write_table(table, stream)
    return stream.getvalue()


@pytest.fixture
def films(hub: LoopbackHub) -> Repository:
    repository = Repository("datasets", "me/films")
    repository.add_commit({}, "Start")
    hub.repositories["datasets", "me/films"] = repository
    return repository


def shown(source: str, **how: Any) -> list[dict[str, int]]:
    """Labels that are known, by film."""
    listing = read_listing(Path(source), **how)
    return [
        {name: label for name, label in zip(listing.vocabulary, row.labels, strict=True) if label is not None}
        for row in listing.rows
    ]


def test_a_dataset_becomes_a_set_that_names_its_commit(films: Repository, tmp_path: Path) -> None:
    films.push("data/train-00000-of-00001.parquet", shard({"label": [0, 1, 1], "patient": ["a", "b", "b"]}, CLASSES))
    commit = films.push("data/test-00000-of-00001.parquet", shard({"label": [0], "patient": ["c"]}, CLASSES))
    films.tags["v1"] = commit
    films.push("data/test-00000-of-00001.parquet", shard({"label": [1], "patient": ["z"]}, CLASSES))
    report = ingest(Path("hf:me/films@v1"), tmp_path / "set", size_px=16, findings=("Pneumonia",))
    assert (report.layout, report.images, report.patients) == ("hub", 4, 3)
    assert report.splits == {"train": 3, "test": 1}
    assert report.findings == {"No Finding": 2, "Pneumonia": 2}
    found = open_set(tmp_path / "set")
    assert found.meta["inputs"]["tables"] == {"hf:me/films": commit}
    by_image = dict(zip(found.table["image"].to_pylist(), found.pixels[:, 0, 0].tolist(), strict=True))
    assert by_image["data/train-00000-of-00001.parquet/2"] == 18
    assert set(found.patients) == {"a", "b", "c"}


def test_the_same_files_in_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "clone" / "data"
    folder.mkdir(parents=True)
    (folder / "train-00000-of-00001.parquet").write_bytes(shard({"label": [0, 1]}, CLASSES))
    report = ingest(tmp_path / "clone", tmp_path / "set", size_px=16)
    assert (report.layout, report.images, report.splits) == ("parquet", 2, {"train": 2})
    assert report.findings["Pneumonia"] == 1


@pytest.mark.parametrize(
    ("columns", "features", "expected"),
    [
        ({"labels": [["Effusion", "Mass"], []]}, None, [{"Effusion": 1, "Mass": 1}, {}]),
        ({"findings": ["Effusion|Mass", None]}, None, [{"Effusion": 1, "Mass": 1}, None]),
        ({"labels": [[0], [0, 1]]}, {"labels": {"feature": {"names": ["mass", "EFFUSION"]}}}, [{"Mass": 1},
         {"Effusion": 1, "Mass": 1}]),
        ({"Effusion": [1, -1], "Mass": [0, None]}, None, [{"Effusion": 1, "Mass": 0}, {"Effusion": -1}]),
        ({"label": ["No Finding", "Mass"]}, None, [{"No Finding": 1}, {"No Finding": 0, "Mass": 1}]),
    ],
)  # fmt: skip
def test_every_form_of_labels(
    films: Repository, columns: dict[str, list[Any]], features: dict[str, Any] | None, expected: list[Any]
) -> None:
    films.push("train.parquet", shard(columns, features))
    for labels, wanted in zip(shown("hf:me/films", findings=("Effusion", "Mass")), expected, strict=True):
        if wanted is None:
            assert labels == {}
        else:
            assert wanted.items() <= labels.items()
            assert {name for name, label in labels.items() if label == 1} == {n for n, x in wanted.items() if x == 1}


def test_columns_may_be_named(films: Repository) -> None:
    data = shard({"other": [image(3)], "kind": ["Mass"], "label": [7]})
    films.push("train.parquet", data)
    listing = read_listing(Path("hf:me/films"), None, Choices(image_column="other", label_column="kind"))
    assert listing.rows[0].place.member == "0:other"
    assert listing.rows[0].labels[listing.vocabulary.index("Mass")] == 1
    with pytest.raises(InputDataError, match="there is no column 'knd'"):
        read_listing(Path("hf:me/films"), None, Choices(image_column="other", label_column="knd"))
    with pytest.raises(InputDataError, match=r"'label' is no column of images\. Of images are: image, other"):
        read_listing(Path("hf:me/films"), None, Choices(image_column="label"))


def test_what_no_set_can_be_made_of_is_said(films: Repository) -> None:
    with pytest.raises(InputDataError, match="holds 0 Parquet files") as caught:
        read_listing(Path("hf:me/films"))
    assert "refs/convert/parquet" in caught.value.fix
    films.push("train.parquet", shard({"label": [0]}))
    with pytest.raises(InputDataError, match="the label is 0, and nothing says what that means"):
        read_listing(Path("hf:me/films"))
    films.push("train.parquet", shard({"synthetic": [True], "pixels_sha256": ["00"]}))
    with pytest.raises(InputDataError, match="archive of synthetic images"):
        read_listing(Path("hf:me/films"))
    films.push("train.parquet", b"PAR1 no more")
    with pytest.raises(InputDataError, match="is damaged"):
        read_listing(Path("hf:me/films"))
    with pytest.raises(AccessError):
        read_listing(Path("hf:me/absent"))


@pytest.mark.parametrize(
    "source",
    [
        "https://169.254.169.254/latest/meta-data",
        "http://localhost:8000/films.zip",
        "file:///etc/passwd",
        "s3://bucket/films",
        "hf://datasets/me/films",
        "hf:me/../films",
        "hf:me/films@../../main",
        "hf:films",
        "hf:me/films@a b",
    ],
)
def test_only_names_of_repositories_are_opened(hub: LoopbackHub, source: str) -> None:
    with pytest.raises(InputDataError, match=r"is a URL|is no name of a dataset"):
        read_listing(Path(source))
    assert hub.log == []
