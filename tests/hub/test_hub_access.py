from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import pytest
from loopback import LoopbackHub
from tiny_archive import TinyArchive

from xrarchive.archive.manifest import RECEIPT_NAME, read_manifest, write_manifest
from xrarchive.errors import GateError, SettingsError
from xrarchive.hub import Access, Receipt, plan_publication
from xrarchive.hub.access import PUBLIC, gate_prompt, require_release
from xrarchive.terms import TERMS

REPO = "tester/xrays"
PublishNow = Callable[..., Receipt]

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")

BY_HAND, AT_ONCE, PRIVATE, FOLDER = (
    Access(gated="manual"),
    Access(gated="auto"),
    Access(private=True),
    Access(inside=True),
)
PERMITTED = Access(permission="Data office, letter of 3 May 2026")


def with_terms(archive: TinyArchive, *names: str) -> TinyArchive:
    manifest = read_manifest(archive.folder)
    builds = (dataclasses.replace(manifest.builds[0], terms=names),)
    write_manifest(archive.folder, dataclasses.replace(manifest, builds=builds))
    archive.finish()
    return archive


@pytest.mark.parametrize(
    ("names", "allowed"),
    [
        (["nih-chestxray14"], [PUBLIC, AT_ONCE, BY_HAND, PRIVATE, FOLDER, PERMITTED]),
        (["nih-chestxray14", "mednist", "chestmnist"], [PUBLIC, AT_ONCE, BY_HAND, PRIVATE, FOLDER, PERMITTED]),
        (["physionet-credentialed"], [BY_HAND, PRIVATE, FOLDER, PERMITTED]),
        (["nih-chestxray14", "physionet-credentialed"], [BY_HAND, PRIVATE, FOLDER, PERMITTED]),
        (["chexpert"], [FOLDER, PERMITTED]),
        (["physionet-credentialed", "open-i"], [FOLDER, PERMITTED]),
        ([], [BY_HAND, PRIVATE, FOLDER, PERMITTED]),
    ],
)
def test_terms_decide_who_may_get_it(names: list[str], allowed: list[Access]) -> None:
    for access in (PUBLIC, AT_ONCE, BY_HAND, PRIVATE, FOLDER, PERMITTED):
        if access in allowed:
            assert all(TERMS[name].notice in " ".join(require_release(names, access)) for name in names)
        else:
            with pytest.raises(GateError, match=f"a {access.words} release" if names else "No terms are recorded"):
                require_release(names, access)


def test_a_refusal_names_the_clause_and_the_way_out() -> None:
    with pytest.raises(GateError) as caught:
        require_release(["nih-chestxray14", "physionet-credentialed"], PUBLIC)
    assert "should be shared on PhysioNet under the same agreement" in caught.value.message
    assert "https://physionet.org/" in caught.value.message
    assert "NIH" not in caught.value.message
    assert "--gated manual or --private" in caught.value.fix
    assert caught.value.code == 11
    with pytest.raises(GateError) as caught:
        require_release(["chexpert"], BY_HAND)
    assert "School of Medicine" in caught.value.message
    assert "--i-have-permission" in caught.value.fix
    assert "--gated" not in caught.value.fix


def test_nobody_can_ask_for_what_is_private() -> None:
    with pytest.raises(SettingsError, match="cannot be gated"):
        require_release(["mednist"], Access(private=True, gated="manual"))


def test_public_release_of_what_came_from_credentialed_films_is_refused(archive: TinyArchive) -> None:
    with_terms(archive, "physionet-credentialed")
    with pytest.raises(GateError, match="same agreement as the source data"):
        plan_publication(archive.folder, REPO)
    assert plan_publication(archive.folder, REPO, access=BY_HAND).access.gated == "manual"


def test_a_gate_stands_before_the_first_byte_and_says_why(
    hub: LoopbackHub, archive: TinyArchive, publish_now: PublishNow
) -> None:
    with_terms(archive, "physionet-credentialed")
    publish_now(plan_publication(archive.folder, REPO, access=BY_HAND))
    assert hub.dataset(REPO).settings["gated"] == "manual"
    calls = [path for method, path, _ in hub.log if method in ("PUT", "POST")]
    assert calls.index(f"/api/datasets/{REPO}/settings") < calls.index(f"/api/datasets/{REPO}/preupload/main")
    card = hub.dataset(REPO).head.files["README.md"].content.decode()
    prompt = gate_prompt(["physionet-credentialed"])
    assert f"extra_gated_prompt: '{prompt}'" in card or f"extra_gated_prompt: {prompt}" in card
    assert "extra_gated" not in (archive.folder / "README.md").read_text(), "the archive itself stays as it was"


def test_a_private_repository_is_made_private(hub: LoopbackHub, archive: TinyArchive, publish_now: PublishNow) -> None:
    publish_now(plan_publication(archive.folder, REPO, access=PRIVATE))
    assert hub.dataset(REPO).settings["private"] is True


def test_a_public_repository_is_not_taken_for_a_private_one(
    hub: LoopbackHub, archive: TinyArchive, publish_now: PublishNow
) -> None:
    publish_now(plan_publication(archive.folder, REPO))
    with pytest.raises(GateError, match="is there and not private"):
        publish_now(plan_publication(archive.folder, REPO, "1.0.1", access=PRIVATE))
    assert hub.calls("POST", "/commit/") == 1


def test_who_permitted_it_is_kept_with_the_release(
    hub: LoopbackHub, archive: TinyArchive, publish_now: PublishNow
) -> None:
    with_terms(archive, "chexpert")
    publish_now(plan_publication(archive.folder, REPO, access=PERMITTED))
    assert "Permission: Data office, letter of 3 May 2026" in hub.dataset(REPO).messages["v1.0.0"]
    receipt = json.loads((archive.folder / RECEIPT_NAME).read_text())
    assert receipt["access"]["permission"] == "Data office, letter of 3 May 2026"
