from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from loopback import LoopbackHub
from tiny_archive import TinyArchive

from xrarchive.archive.manifest import Change, Manifest, read_manifest
from xrarchive.errors import PlanChangedError, SettingsError
from xrarchive.hub import Receipt, plan_publication, preflight
from xrarchive.hub.versions import Standing, bump, change_between, fitting_version, list_versions

REPO, MODEL_REPO = "tester/xrays", "tester/xray-weights"
PublishNow = Callable[..., Receipt]

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")


@pytest.fixture
def manifest(archive: TinyArchive) -> Manifest:
    return read_manifest(archive.folder)


def changed(manifest: Manifest, *steps: tuple[str, int, int]) -> Manifest:
    """The manifest after `steps` (change, added, removed)."""
    for change, added, removed in steps:
        step = manifest.follow(change, added=added, removed=removed)
        rows = manifest.rows + added - removed
        files = {
            **manifest.files,
            f"data/train-{len(manifest.files):05d}.parquet": manifest.files["data/train-00000.parquet"],
        }
        manifest = dataclasses.replace(
            manifest, history=(*manifest.history, step), rows=rows, files=files, content_sha256=step.version
        )
    return manifest


@pytest.mark.parametrize(
    ("steps", "level", "words"),
    [
        ([], "patch", "the images are the same"),
        ([("extend", 5, 0)], "minor", "5 images were added and 0 removed"),
        ([("extend", 5, 0), ("extend", 2, 0)], "minor", "7 images were added"),
        ([("withdraw", 0, 1)], "major", "0 images were added and 1 removed"),
        ([("extend", 5, 0), ("withdraw", 0, 1)], "major", "extend, withdraw"),
        ([("split", 0, 0)], "major", "split"),
    ],
)
def test_what_happened_decides_the_kind_of_version(
    manifest: Manifest, steps: list[tuple[str, int, int]], level: str, words: str
) -> None:
    found, why = change_between(manifest, changed(manifest, *steps))
    assert (found, words in why) == (level, True), why


def test_without_a_common_history_shards_and_content_decide(manifest: Manifest) -> None:
    files = dict(manifest.files)
    record = files.pop("data/train-00001.parquet")
    fewer = dataclasses.replace(
        manifest, files=files, history=(Change("1.0.0", "build", 3, 0),), rows=3, content_sha256="other"
    )
    assert change_between(fewer, manifest)[0] == "minor", "all its shards are there, and one more"
    assert change_between(manifest, fewer)[0] == "major"
    repacked = dataclasses.replace(
        manifest,
        files={**files, "data/train-00001.parquet": dataclasses.replace(record, sha256="0" * 64)},
        builds=(dataclasses.replace(manifest.builds[0], versions={"pyarrow": "99"}),),
    )
    assert change_between(manifest, repacked) == ("patch", "images and labels are the same in other files")


def test_versions_are_told_from_other_tags_and_sorted_as_numbers() -> None:
    assert list_versions(["v1.10.0", "v1.9.0", "v1.0", "latest", "v1.0.0-retracted"]) == ("1.9.0", "1.10.0")
    assert [bump("1.2.3", level) for level in ("patch", "minor", "major")] == ["1.2.4", "1.3.0", "2.0.0"]


@pytest.mark.parametrize(
    ("asked", "steps", "given"),
    [
        (None, [], "1.0.0"),
        (None, [("extend", 5, 0)], "1.1.0"),
        (None, [("withdraw", 0, 1)], "2.0.0"),
        ("1.0.0", [], "1.0.0"),
        ("1.0.1", [], "1.0.1"),
        ("1.1.0", [("extend", 5, 0)], "1.1.0"),
        ("3.0.0", [("extend", 5, 0)], "3.0.0"),
        ("1.0.1", [("extend", 5, 0)], "1.1.0 or higher"),
        ("1.9.0", [("withdraw", 0, 1)], "2.0.0 or higher"),
    ],
)
def test_the_version_fits_what_is_published(
    manifest: Manifest, asked: str | None, steps: list[tuple[str, int, int]], given: str
) -> None:
    standing = Standing(("1.0.0",), lambda _version: manifest, lambda _version: "")
    new = changed(manifest, *steps)
    if "or higher" in given:
        with pytest.raises(SettingsError, match=r"is too low: 1\.0\.0 is published, and since then") as caught:
            fitting_version(asked, new, standing)
        assert given in caught.value.fix
    else:
        assert fitting_version(asked, new, standing) == given


def test_cards_alone_make_a_patch_and_strange_tags_a_major_version(manifest: Manifest) -> None:
    standing = Standing(("1.0.0", "1.3.0"), lambda _version: manifest, lambda _version: "README.md")
    assert fitting_version(None, manifest, standing) == "1.3.1"
    assert fitting_version(None, manifest, dataclasses.replace(standing, manifest=lambda _version: None)) == "2.0.0"


def test_without_a_version_the_same_archive_is_published_once(
    hub: LoopbackHub, archive: TinyArchive, publish_now: PublishNow
) -> None:
    publish_now(plan_publication(archive.folder, REPO, "1.2.0"))
    again = publish_now(plan_publication(archive.folder, REPO))
    assert (again.already_published, again.tag) == (True, "v1.2.0")
    archive.write_card(f"Better words on the manifest {archive.manifest_sha256}.")
    assert preflight(plan_publication(archive.folder, REPO)).version == "1.2.1"
    assert publish_now(plan_publication(archive.folder, REPO)).tag == "v1.2.1"
    assert set(hub.dataset(REPO).tags) == {"v1.2.0", "v1.2.1"}


def test_an_archive_that_lost_images_cannot_be_a_minor_version(
    hub: LoopbackHub, archive: TinyArchive, other_archive: TinyArchive, publish_now: PublishNow
) -> None:
    publish_now(plan_publication(archive.folder, REPO))
    before = len(hub.log)
    with pytest.raises(SettingsError, match="images that are published are not in it as they were") as caught:
        publish_now(plan_publication(other_archive.folder, REPO, "1.1.0"))
    assert "2.0.0" in caught.value.fix
    assert {method for method, _, _ in hub.log[before:]} <= {"GET", "HEAD"}
    assert publish_now(plan_publication(other_archive.folder, REPO)).tag == "v2.0.0"


@pytest.mark.usefixtures("hub")
def test_the_same_version_with_other_images_is_refused_with_their_names(
    archive: TinyArchive, other_archive: TinyArchive, publish_now: PublishNow
) -> None:
    publish_now(plan_publication(archive.folder, REPO, "1.0.0"))
    with pytest.raises(PlanChangedError) as caught:
        publish_now(plan_publication(other_archive.folder, REPO, "1.0.0"))
    assert (
        "0 images added, 3 images removed (syn-000003, syn-000004, syn-000005), 3 images changed"
        in caught.value.message
    )


def test_the_tag_says_what_the_changelog_says(hub: LoopbackHub, archive: TinyArchive, publish_now: PublishNow) -> None:
    publish_now(plan_publication(archive.folder, REPO))
    assert hub.dataset(REPO).messages["v1.0.0"].startswith("- 1.0.0, build (6 added)\n\nManifest sha256 ")
    (archive.folder / "CHANGELOG.md").write_text("# Changelog\n\n## 1.0.1\n\nWords.\n\n- More.\n\n## 1.0.0\n\nFirst.\n")
    archive.finish()
    publish_now(plan_publication(archive.folder, REPO, "1.0.1"))
    assert hub.dataset(REPO).messages["v1.0.1"].startswith("Words.\n\n- More.\n\nManifest sha256 ")


def test_dataset_and_weights_name_each_other(hub: LoopbackHub, archive: TinyArchive, publish_now: PublishNow) -> None:
    archive.write_card(f'load_dataset("OWNER/NAME", revision="vX.Y.Z")  # {archive.manifest_sha256}')
    plan = plan_publication(
        archive.folder, REPO, model_repo=MODEL_REPO, weights=archive.weights, model_card=f"# Weights of {REPO}"
    )
    receipt = publish_now(plan)
    assert receipt.model is not None
    files = hub.dataset(REPO).head.files
    card = files["README.md"].content.decode()
    assert f"`{MODEL_REPO}`, `v1.0.0`, commit `{receipt.model.commit}`" in card
    assert f'load_dataset("{REPO}", revision="v1.0.0")' in card
    assert REPO in hub.model(MODEL_REPO).head.files["README.md"].content.decode()
    sums = dict(line.split("  ")[::-1] for line in files["SHA256SUMS"].content.decode().splitlines())
    assert {name: files[name].sha256 for name in sums} == sums
    assert publish_now(plan).already_published


def test_a_look_sends_nothing(hub: LoopbackHub, archive: TinyArchive, publish_now: PublishNow) -> None:
    new = preflight(plan_publication(archive.folder, REPO))
    assert any("is new: public" in note for note in new.notes)
    assert hub.repositories == {}
    publish_now(plan_publication(archive.folder, REPO))
    before = len(hub.log)
    known = preflight(plan_publication(archive.folder, REPO, "1.0.1"))
    assert "Published is 1.0.0: the images are the same." in known.notes
    assert {method for method, _, _ in hub.log[before:]} == {"GET", "HEAD"}
