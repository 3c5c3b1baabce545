"""A dataset on a Hub: 1.0.0, extended to 1.1.0, an image withdrawn in 2.0.0; what is sent, what each tag gives."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fault_world import REPO, check_canary
from loopback import LoopbackHub, serve
from test_real_clients import Published, environment_of
from tiny_archive import TinyArchive
from xet_store import XetStore

from xrarchive.archive.changing import withdraw
from xrarchive.archive.manifest import read_manifest
from xrarchive.archive.readme import write_readme
from xrarchive.archive.sums import write_sums
from xrarchive.validation import SCHEMA

sys.path.append(str(Path(__file__).parents[1] / "archive"))

from life_world import DATE, extend_made
from made_archive import make_archive, small_shards

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
GONE = "s3-Mass-000001"
REASON = "burned-in text"
LOAD = """
import json, sys, datasets
datasets.disable_progress_bars()
ids = {tag: datasets.load_dataset(sys.argv[1], revision=tag, split="train")["image_id"][:] for tag in sys.argv[2:]}
print(json.dumps(ids))
"""


@dataclass
class Life:
    """What was seen: by tag the ids an archive had and the shards it named, and how many objects were sent for it."""

    published: Published
    ids: dict[str, list[str]]
    shards: dict[str, dict[str, str]]
    sent: dict[str, int]


@pytest.fixture(scope="module", params=["lfs", "xet"])
def life(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    folder, transport = tmp_path_factory.mktemp(request.param), request.param
    if transport == "xet" and not XetStore(folder / "probe").works():
        pytest.skip("hf_xet is not installed, or its local:// stores have changed")
    archive = TinyArchive(make_archive(folder / "archive"), None, {})
    with serve(folder / "hub") as (hub, url):
        seen = Life(Published(archive, hub, folder, environment_of(url, folder, transport)), {}, {}, {})
        release(seen, hub)
        with small_shards(6):
            extend_made(archive.folder, 8)
        release(seen, hub)
        withdraw(archive.folder, ids=[GONE], reason=REASON, date=DATE)
        release(seen, hub)
        yield seen
    check_canary(folder)


def release(life: Life, hub: LoopbackHub) -> None:
    """Validate, describe and publish what the folder holds, under the version it proposes itself."""
    folder = life.published.archive.folder
    manifest = read_manifest(folder)
    closed = {"name": "privacy", "status": "not measured", "weights": True, "value": None, "message": "none"}
    gates = {"open": True, "weights_open": False, "list": [closed]}
    validation = {"schema": SCHEMA, "manifest_sha256": manifest.sha256, "gates": gates}
    (folder / "validation.json").write_text(json.dumps(validation))
    write_readme(folder, manifest, f"Made from the manifest `{manifest.sha256}`.")
    write_sums(folder, manifest)
    before = hub.calls("PUT", "/lfs/"), hub.xet.bytes()
    receipt = json.loads(life.published.xrarchive("publish", str(folder), REPO, "--yes", "--json"))
    sent = hub.calls("PUT", "/lfs/") - before[0], hub.xet.bytes() - before[1]
    life.sent[receipt["tag"]] = sent[0] or sent[1]
    life.shards[receipt["tag"]] = {name: record.sha256 for name, record in manifest.files.items()}
    life.ids[receipt["tag"]] = ids_of(folder)


def ids_of(folder: Path) -> list[str]:
    from xrarchive.archive.reader import read_table

    ids: list[str] = read_table(folder, ["image_id"])["image_id"].to_pylist()
    return ids


def test_the_versions_are_what_the_changes_demand(life: Life) -> None:
    assert list(life.ids) == ["v1.0.0", "v1.1.0", "v2.0.0"]
    assert life.published.hub.dataset(REPO).history == [
        *(f"Publish {tag}" for tag in reversed(life.ids)),
        "initial commit",
    ]


def test_each_tag_gives_its_own_images(life: Life) -> None:
    loaded = json.loads(life.published.python(LOAD, REPO, *life.ids, "main"))
    assert {tag: sorted(ids) for tag, ids in loaded.items()} == {
        **{tag: sorted(ids) for tag, ids in life.ids.items()},
        "main": sorted(life.ids["v2.0.0"]),
    }
    # What the Hub cannot undo: the old version still holds what was withdrawn.
    assert GONE in loaded["v1.0.0"]
    assert GONE not in loaded["main"]


def test_what_is_there_is_not_sent_again(life: Life) -> None:
    if life.published.environment["HF_HUB_DISABLE_XET"] != "1":
        assert 0 < life.sent["v2.0.0"] < life.sent["v1.0.0"]
        return
    known: set[str] = set()
    for tag, shards in life.shards.items():
        assert life.sent[tag] == len(set(shards.values()) - known), tag
        known |= set(shards.values())


def test_diff_says_what_changed(life: Life) -> None:
    def diff(before: str, after: str) -> dict[str, object]:
        found: dict[str, object] = json.loads(
            life.published.xrarchive("diff", f"{REPO}@{before}", f"{REPO}@{after}", "--json", code=None)
        )
        return found

    grown, shrunk = diff("v1.0.0", "v1.1.0"), diff("v1.1.0", "v2.0.0")
    assert grown["removed"] == []
    assert sorted(grown["added"]) == sorted(set(life.ids["v1.1.0"]) - set(life.ids["v1.0.0"]))
    assert shrunk["removed"] == [GONE]
    assert (shrunk["added"], shrunk["changed"]) == ([], {})


def test_a_lower_version_than_the_withdrawal_demands_is_refused(life: Life) -> None:
    said = life.published.xrarchive(
        "publish", str(life.published.archive.folder), REPO, "--version", "1.2.0", "--yes", code=2
    )
    assert "1.2.0" in said
    assert "Fix:" in said
