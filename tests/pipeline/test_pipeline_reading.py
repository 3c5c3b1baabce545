"""`pipeline.check` that makes images again, in the tiny world."""

import dataclasses
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_build import FINDINGS, PER_CLASS

from xrarchive import pipeline
from xrarchive.archive.manifest import read_manifest
from xrarchive.archive.schema import write_shard
from xrarchive.archive.shards import commit, record_file
from xrarchive.building.making import package_versions
from xrarchive.errors import InputDataError

ROWS = len(FINDINGS) * PER_CLASS


def test_images_are_made_again_bit_for_bit(tiny_built, tiny_weights):
    found = pipeline.check(tiny_built, regenerate=5, generator=tiny_weights["generator"])
    assert (found.problems, found.read_data) == ((), False)
    assert (found.regenerated.count, found.regenerated.identical) == (5, 5)
    assert (found.regenerated.least_psnr_db, found.regenerated.versions, found.regenerated.failed) == (None, {}, ())
    everything = pipeline.check(tiny_built, regenerate=1_000, generator=tiny_weights["generator"]).regenerated
    assert (everything.count, everything.identical) == (ROWS, ROWS)
    assert pipeline.check(tiny_built).regenerated is None


def test_another_image_and_other_versions_are_reported(tiny_built, tiny_weights, tmp_path):
    """The latents of two images exchanged: both are made again, and are not what is stored."""
    folder = tmp_path / "archive"
    shutil.copytree(tiny_built, folder)
    manifest = read_manifest(folder)
    (name,) = manifest.shards("provenance")
    table = pq.read_table(folder / name)
    latents = table["latent"].to_pylist()
    latents[0], latents[1] = latents[1], latents[0]
    field = table.schema.field("latent")
    position = table.column_names.index("latent")
    write_shard(folder / name, [table.set_column(position, field, pa.array(latents, field.type))], table.schema)
    versions = {**manifest.builds[0].versions, "torch": "1.0"}
    build = dataclasses.replace(manifest.builds[0], versions=versions)
    files = {**manifest.files, name: record_file(folder / name)}
    commit(folder, dataclasses.replace(manifest, builds=(build,), files=files))
    found = pipeline.check(folder, regenerate=1_000, generator=tiny_weights["generator"])
    ids = table["image_id"].to_pylist()[:2]
    assert [(item.id, item.path) for item in found.problems] == [("not-regenerated", image_id) for image_id in ids]
    assert found.regenerated.failed == tuple(ids)
    assert found.regenerated.identical == ROWS - 2
    assert found.regenerated.least_psnr_db < 50
    assert found.regenerated.versions == {"torch": ("1.0", package_versions()["torch"])}


def test_images_are_made_again_by_the_generator_of_the_build_alone(tiny_built, tiny_weights, tmp_path):
    with pytest.raises(InputDataError, match="is not a generator of"):
        pipeline.check(tiny_built, regenerate=1, generator=tiny_weights["guide"])
    with pytest.raises(InputDataError, match="found no file"):
        pipeline.check(tiny_built, regenerate=1, generator=tmp_path / "none.safetensors")
