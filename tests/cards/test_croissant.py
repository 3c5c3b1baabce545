"""croissant.json as the reference library reads it."""

import json

import numpy as np
import pytest

from xrarchive.archive.manifest import read_manifest
from xrarchive.archive.reader import read_pixels, read_table
from xrarchive.cards.croissant import _identifiers

RAI = (
    "dataCollection dataCollectionType dataPreprocessingProtocol dataAnnotationProtocol machineAnnotationTools "
    "dataBiases dataUseCases dataLimitations dataSocialImpact personalSensitiveInformation dataReleaseMaintenancePlan"
)


@pytest.fixture
def content(archive):
    return json.loads((archive / "croissant.json").read_bytes())


@pytest.mark.filterwarnings("ignore")  # of libraries that the reference library brings
def test_the_reference_library_finds_nothing_and_reads_every_image(archive, caplog):
    mlcroissant = pytest.importorskip("mlcroissant")
    dataset = mlcroissant.Dataset(str(archive / "croissant.json"))
    issues = dataset.metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())
    records = list(dataset.records("default"))
    table, pixels = read_table(archive), read_pixels(archive)
    assert [record["default/image_id"].decode() for record in records] == table["image_id"].to_pylist()
    assert all(np.array_equal(np.asarray(r["default/image"]), image) for r, image in zip(records, pixels, strict=True))
    for name in ("label", "findings", "Effusion", "synthetic"):
        assert [record[f"default/{name}"] for record in records] == table[name].to_pylist()
    assert {record["default/split"] for record in records} == {b"train"}
    origins = list(dataset.records("provenance"))
    assert len(origins) == len(records)
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


def test_every_shard_is_hashed_and_every_column_described(archive, content):
    manifest = read_manifest(archive)
    hashes = {item["@id"]: item["sha256"] for item in content["distribution"] if item["@type"] == "cr:FileObject"}
    assert hashes.items() >= {path: record.sha256 for path, record in manifest.files.items()}.items()
    assert hashes["manifest.json"] == manifest.sha256
    columns = [field["name"] for one in content["recordSet"] if one["@id"] == "default" for field in one["field"]]
    assert len(columns) == 1 + len(read_table(archive).column_names)
    assert all(field["description"] != field["name"] for one in content["recordSet"] for field in one["field"])


def test_it_says_what_a_publisher_must(content):
    assert content["conformsTo"] == ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]
    assert content["isLiveDataset"] is False
    assert all(content[f"rai:{name}"] for name in RAI.split())
    assert all(
        content[name] for name in ("license", "citeAs", "url", "creator", "datePublished", "prov:wasDerivedFrom")
    )
    assert len(content["prov:wasGeneratedBy"][0]["prov:used"]) == 3


def test_identifiers_have_no_spaces_and_stay_apart():
    assert _identifiers(["No Finding", "No_Finding", "label"]) == {
        "No Finding": "No_Finding.0", "No_Finding": "No_Finding.1", "label": "label",
    }  # fmt: skip
