from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants
from loopback import LoopbackHub
from tiny_archive import TinyArchive
from wire import Fault

from xrarchive.archive.reader import check_archive
from xrarchive.errors import AccessError, InputDataError
from xrarchive.hub import Access, Receipt, plan_publication, publish_to_folder, retract, retract_in_folder
from xrarchive.hub.fetching import open_source

REPO, DATE = "tester/xrays", "2026-11-23"
REASON = "Labels of two findings were swapped."
NOTICE = f"> **v1.0.0 is retracted** ({DATE}): {REASON}"
PublishNow = Callable[..., Receipt]

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")


def with_changelog(archive: TinyArchive) -> TinyArchive:
    (archive.folder / "CHANGELOG.md").write_text("# Changelog\n\n## 1.0.0\n\nFirst.\n")
    archive.finish()
    return archive


def test_a_retracted_version_is_marked_everywhere_and_stays(
    hub: LoopbackHub, archive: TinyArchive, publish_now: PublishNow
) -> None:
    first = publish_now(plan_publication(with_changelog(archive).folder, REPO))
    done = retract(REPO, "v1.0.0", reason=REASON, date=DATE)
    remote = hub.dataset(REPO)
    files = remote.head.files
    assert NOTICE in files["README.md"].content.decode().split("---\n", 2)[2].splitlines()[1]
    assert f"## 1.0.0\n\n{NOTICE}\n\nFirst." in files["CHANGELOG.md"].content.decode()
    assert json.loads(files["retractions.json"].content) == {"v1.0.0": {"reason": REASON, "date": DATE}}
    sums = dict(line.split("  ")[::-1] for line in files["SHA256SUMS"].content.decode().splitlines())
    assert {name: files[name].sha256 for name in sums} == sums
    assert remote.tags == {"v1.0.0": first.commit, "v1.0.0-retracted": done.commit}
    assert remote.messages["v1.0.0-retracted"].endswith(REASON)
    assert remote.history[0] == "Retract v1.0.0"
    assert "stays" in done.stays


def test_a_reader_of_a_retracted_version_is_told(
    hub: LoopbackHub,
    archive: TinyArchive,
    publish_now: PublishNow,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def told(revision: str | None) -> list[str]:
        caplog.clear()
        with open_source(REPO, revision=revision, sleep=lambda _s: None) as source:
            assert source.manifest.rows == len(archive.pixels)
        return [line for line in caplog.messages if "retracted" in line]

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    publish_now(plan_publication(archive.folder, REPO))
    assert told("v1.0.0") == []
    retract(REPO, "v1.0.0", reason=REASON, date=DATE)
    words = f"{REPO}@v1.0.0 was retracted on {DATE}: {REASON}"
    assert told("v1.0.0") == [words]
    assert told(None) == []  # main's card says it
    hub.faults += [Fault("GET", "revision/v1.0.0-retracted", status=503)] * 2
    assert words in told("v1.0.0")  # from the cache


def test_a_fault_while_asking_for_a_retraction_stops_no_reader(
    hub: LoopbackHub, archive: TinyArchive, publish_now: PublishNow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    publish_now(plan_publication(archive.folder, REPO))
    hub.faults += [Fault("GET", "revision/v1.0.0-retracted", status=503)] * 2
    with open_source(REPO, revision="v1.0.0", sleep=lambda _s: None) as source:
        assert source.manifest.rows == len(archive.pixels)
    assert hub.faults == []


def test_later_versions_carry_the_notice_and_older_ones_are_still_themselves(
    hub: LoopbackHub, archive: TinyArchive, publish_now: PublishNow
) -> None:
    plan = plan_publication(with_changelog(archive).folder, REPO)
    publish_now(plan)
    retract(REPO, "v1.0.0", reason=REASON, date=DATE)
    assert publish_now(plan_publication(archive.folder, REPO, "1.0.0")).already_published
    archive.write_card(f"Better words on {archive.manifest_sha256}.")
    second = publish_now(plan_publication(archive.folder, REPO))
    assert second.tag == "v1.0.1"
    files = hub.dataset(REPO).commits[second.commit].files
    assert NOTICE in files["README.md"].content.decode()
    assert NOTICE in files["CHANGELOG.md"].content.decode()
    assert publish_now(plan_publication(archive.folder, REPO)).already_published
    done = retract(REPO, "1.0.1", reason="Worse words.", date=DATE)
    card = hub.dataset(REPO).commits[done.commit].files["README.md"].content.decode()
    assert card.count("is retracted") == 2


def test_again_changes_nothing_and_lost_replies_do_no_harm(
    hub: LoopbackHub, archive: TinyArchive, publish_now: PublishNow
) -> None:
    publish_now(plan_publication(archive.folder, REPO))
    hub.faults.append(Fault("POST", "/commit/", status=500, applied=True))
    hub.faults.append(Fault("POST", "/tag/", status=500, applied=True))
    waits: list[float] = []
    done = retract(REPO, "v1.0.0", reason=REASON, date=DATE, sleep=waits.append)
    assert (hub.faults, len(waits)) == ([], 2)
    again = retract(REPO, "v1.0.0", reason=REASON, date=DATE)
    assert (again.commit, again.already_retracted) == (done.commit, True)
    assert hub.dataset(REPO).history.count("Retract v1.0.0") == 1


def test_only_what_is_published_can_be_retracted(
    hub: LoopbackHub, archive: TinyArchive, publish_now: PublishNow
) -> None:
    with pytest.raises(InputDataError, match=r"has no version v1\.0\.0\."):
        retract(REPO, "v1.0.0", reason=REASON, date=DATE)
    publish_now(plan_publication(archive.folder, REPO))
    with pytest.raises(InputDataError, match=r"no version v1\.2\.0, only v1\.0\.0"):
        retract(REPO, "v1.2.0", reason=REASON, date=DATE)
    with pytest.raises(InputDataError, match="for a reason"):
        retract(REPO, "v1.0.0", reason=" ", date=DATE)
    with pytest.raises(InputDataError, match="is no version"):
        retract(REPO, "main", reason=REASON, date=DATE)
    with pytest.raises(AccessError):
        retract("somebody/xrays", "v1.0.0", reason=REASON, date=DATE)
    assert hub.calls("POST", "/commit/") == 1


def test_in_a_folder_the_index_says_it_and_later_versions_too(tmp_path: Path, archive: TinyArchive) -> None:
    inside = Access(inside=True)
    with_changelog(archive)
    publish_to_folder(plan_publication(archive.folder, REPO, access=inside), tmp_path)
    done = retract_in_folder(tmp_path, REPO, "v1.0.0", reason=REASON, date=DATE)
    assert not done.already_retracted
    assert retract_in_folder(tmp_path, REPO, "v1.0.0", reason=REASON, date=DATE).already_retracted
    index = json.loads((tmp_path / REPO / "index.json").read_text())
    assert index["versions"]["v1.0.0"]["retracted"] == {"reason": REASON, "date": DATE}
    assert "retracted" not in (tmp_path / REPO / "v1.0.0" / "README.md").read_text()
    assert publish_to_folder(plan_publication(archive.folder, REPO, access=inside), tmp_path).already_published
    publish_to_folder(plan_publication(archive.folder, REPO, "1.0.1", access=inside), tmp_path)
    assert NOTICE in (tmp_path / REPO / "v1.0.1" / "README.md").read_text()
    assert check_archive(tmp_path / REPO / "v1.0.1", read_data=True).sound
    assert publish_to_folder(plan_publication(archive.folder, REPO, "1.0.1", access=inside), tmp_path).already_published
    with pytest.raises(InputDataError, match=r"only v1\.0\.0, v1\.0\.1"):
        retract_in_folder(tmp_path, REPO, "v3.0.0", reason=REASON, date=DATE)
    with pytest.raises(InputDataError, match="holds no ward/xrays"):
        retract_in_folder(tmp_path, "ward/xrays", "v3.0.0", reason=REASON, date=DATE)
