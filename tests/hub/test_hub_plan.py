from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_archive import TinyArchive, sha256

from xrarchive.errors import DamageError, GateError, InputDataError, SettingsError
from xrarchive.hub import plan_publication

REPO, MODEL_REPO = "tester/xrays", "tester/xray-weights"
SENT = {
    "README.md",
    "manifest.json",
    "validation.json",
    "SHA256SUMS",
    "data/train-00000.parquet",
    "data/train-00001.parquet",
    "provenance/train-00000.parquet",
    "provenance/train-00001.parquet",
}


def test_lists_what_goes_up_and_nothing_else(archive: TinyArchive) -> None:
    publication = plan_publication(archive.folder, REPO, "1.0.0")
    assert {item.path for item in publication.dataset.uploads} == SENT
    for item in publication.dataset.uploads:
        assert (item.bytes, item.sha256) == (
            (archive.folder / item.path).stat().st_size,
            sha256(archive.folder / item.path),
        )
    assert (publication.tag, publication.model) == ("v1.0.0", None)


def test_a_changelog_goes_up_where_there_is_one(archive: TinyArchive) -> None:
    (archive.folder / "CHANGELOG.md").write_text("# Changelog\n")
    publication = plan_publication(archive.folder, REPO)
    assert {item.path for item in publication.dataset.uploads} == SENT | {"CHANGELOG.md"}
    assert publication.dataset.claims_path("CHANGELOG.md"), "one that is gone goes from the repository too"


def test_what_goes_with_the_card_goes_up_unless_it_is_of_another_state(archive: TinyArchive) -> None:
    (archive.folder / "samples").mkdir()
    for name in ("croissant.json", "CITATION.cff", "SCORECARD.md", "samples/Mass.png"):
        (archive.folder / name).write_text(archive.manifest_sha256)
    content = plan_publication(archive.folder, REPO).dataset
    extra = {"croissant.json", "CITATION.cff", "SCORECARD.md", "samples/Mass.png"}
    assert {item.path for item in content.uploads} == SENT | extra
    sums = next(item.source for item in content.uploads if item.path == "SHA256SUMS")
    assert isinstance(sums, bytes)
    assert all(f"  {name}\n".encode() in sums for name in extra)
    assert all(content.claims_path(path) for path in ("croissant.json", "samples/Edema.png"))
    (archive.folder / "samples/Mass.png").write_text("of another")
    with pytest.raises(GateError, match=r"changed after .*: samples/Mass.png does not"):
        plan_publication(archive.folder, REPO)


def test_the_version_is_the_archives_own_or_higher(archive: TinyArchive) -> None:
    assert plan_publication(archive.folder, REPO).version == "1.0.0"
    assert plan_publication(archive.folder, REPO, "1.0.1").version == "1.0.1"
    with pytest.raises(SettingsError, match=r"version 0.9.9 is lower than the archive's own, 1.0.0: .* 'build'") as err:
        plan_publication(archive.folder, REPO, "0.9.9")
    assert "1.0.0" in err.value.fix


def test_dry_run_form_is_json_without_contents(archive: TinyArchive) -> None:
    publication = plan_publication(
        archive.folder, REPO, "1.0.0", model_repo=MODEL_REPO, weights=archive.weights, model_card="# Weights"
    )
    told = json.loads(json.dumps(publication.as_dict()))
    assert told["manifest_sha256"] == archive.manifest_sha256
    assert told["dataset"]["bytes"] == sum(file["bytes"] for file in told["dataset"]["files"])
    paths = [file["path"] for file in told["model"]["files"]]
    assert paths == ["generator.safetensors", "guide.safetensors", "judge.safetensors", "README.md"]


@pytest.mark.parametrize("version", ["v1.0.0", "1.0", "1.0.0.0", "01.0.0", "1.0.0-rc1", "1.0.0\n", ""])
def test_refuses_a_version_that_is_not_three_numbers(archive: TinyArchive, version: str) -> None:
    with pytest.raises(SettingsError, match=r"X\.Y\.Z"):
        plan_publication(archive.folder, REPO, version)


@pytest.mark.parametrize("repo", ["xrays", "a/b/c", "../xrays", "tester/", "tester/x y", "tester/..", "tester/x.git"])
def test_refuses_a_repository_that_is_not_owner_and_name(archive: TinyArchive, repo: str) -> None:
    with pytest.raises(SettingsError, match="owner/name"):
        plan_publication(archive.folder, repo, "1.0.0")


def test_refuses_a_folder_without_manifest(tmp_path: Path) -> None:
    with pytest.raises(InputDataError):
        plan_publication(tmp_path, REPO, "1.0.0")


def test_refuses_an_archive_not_validated(archive: TinyArchive) -> None:
    (archive.folder / "validation.json").unlink()
    with pytest.raises(GateError, match="not been validated") as caught:
        plan_publication(archive.folder, REPO, "1.0.0")
    assert "xrarchive validate" in caught.value.fix


def test_refuses_a_validation_of_another_archive(archive: TinyArchive, other_archive: TinyArchive) -> None:
    (archive.folder / "validation.json").write_bytes((other_archive.folder / "validation.json").read_bytes())
    with pytest.raises(GateError, match="another archive"):
        plan_publication(archive.folder, REPO, "1.0.0")


@pytest.mark.parametrize("content", ["[]", "{}", '{"manifest_sha256": null}'])
def test_refuses_a_validation_that_names_no_manifest(archive: TinyArchive, content: str) -> None:
    (archive.folder / "validation.json").write_text(content)
    with pytest.raises(GateError, match="another archive"):
        plan_publication(archive.folder, REPO, "1.0.0")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Written by build, no text yet.", "no text for this archive"),
        ("Of {sha} by {{{{ author }}}}.", "unfilled slot"),
        ("Of {sha}. [More Information Needed]", "unfilled slot"),
    ],
)
def test_refuses_a_card_that_was_not_rendered(archive: TinyArchive, text: str, reason: str) -> None:
    archive.write_card(text.format(sha=archive.manifest_sha256))
    with pytest.raises(GateError, match=reason) as caught:
        plan_publication(archive.folder, REPO, "1.0.0")
    assert "xrarchive card" in caught.value.fix


def test_refuses_a_missing_card(archive: TinyArchive) -> None:
    (archive.folder / "README.md").unlink()
    with pytest.raises(GateError, match=r"no README\.md"):
        plan_publication(archive.folder, REPO, "1.0.0")


def test_refuses_a_card_that_names_other_shards(archive: TinyArchive) -> None:
    card = archive.folder / "README.md"
    card.write_text(card.read_text().replace("- data/train-00001.parquet\n", "- data/train-00007.parquet\n"))
    with pytest.raises(GateError, match="'configs' is not what the manifest demands"):
        plan_publication(archive.folder, REPO, "1.0.0")


def test_finds_one_flipped_bit(archive: TinyArchive) -> None:
    shard = archive.folder / "provenance/train-00001.parquet"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DamageError, match=r"provenance/train-00001\.parquet") as caught:
        plan_publication(archive.folder, REPO, "1.0.0")
    assert caught.value.code == 6


def test_finds_a_missing_shard(archive: TinyArchive) -> None:
    (archive.folder / "data/train-00000.parquet").unlink()
    with pytest.raises(DamageError, match="no such file"):
        plan_publication(archive.folder, REPO, "1.0.0")


def test_refuses_weights_the_archive_was_not_made_with(archive: TinyArchive) -> None:
    archive.weights["judge"].write_bytes(b"another judge")
    with pytest.raises(InputDataError, match="not the judge this archive was made with"):
        plan_publication(
            archive.folder, REPO, "1.0.0", model_repo=MODEL_REPO, weights=archive.weights, model_card="# Weights"
        )


def test_needs_every_weight_the_manifest_names(archive: TinyArchive) -> None:
    weights = {role: path for role, path in archive.weights.items() if role != "guide"}
    with pytest.raises(InputDataError, match="guide's weights were not found"):
        plan_publication(archive.folder, REPO, "1.0.0", model_repo=MODEL_REPO, weights=weights, model_card="# Weights")


def test_a_model_repository_needs_a_card(archive: TinyArchive) -> None:
    with pytest.raises(ValueError, match="model_card"):
        plan_publication(archive.folder, REPO, "1.0.0", model_repo=MODEL_REPO, weights=archive.weights)


def test_importing_is_cheap() -> None:
    code = "import sys, xrarchive.hub; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "huggingface_hub", "datasets", "pyarrow"} & set(loaded)
