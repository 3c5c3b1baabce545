from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from loopback import READ_ONLY_TOKEN, LoopbackHub
from repositories import StoredFile
from tiny_archive import TinyArchive
from wire import Fault

from xrarchive.archive.manifest import RECEIPT_NAME
from xrarchive.errors import AccessError, DamageError, PlanChangedError, RemoteError, StorageError
from xrarchive.hub import Publication, Receipt, plan_publication
from xrarchive.hub.client import MAX_TRIES
from xrarchive.hub.content import in_memory
from xrarchive.records import Status

REPO, MODEL_REPO = "tester/xrays", "tester/xray-weights"
PublishNow = Callable[..., Receipt]

# huggingface_hub 2.4 sends LFS objects in a way that its own HTTP client calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")


def plan_with_weights(archive: TinyArchive, version: str = "1.0.0") -> Publication:
    return plan_publication(
        archive.folder, REPO, version, model_repo=MODEL_REPO, weights=archive.weights, model_card="# Weights"
    )


def test_one_commit_one_tag_and_exactly_our_bytes(hub: LoopbackHub, plan: Publication, publish_now: PublishNow) -> None:
    receipt = publish_now(plan)
    remote = hub.dataset(REPO)
    assert remote.history == ["Publish v1.0.0", "initial commit"]
    assert remote.tags == {"v1.0.0": receipt.commit}
    assert remote.branches["main"] == receipt.commit
    assert set(remote.head.files) == {item.path for item in plan.dataset.uploads} | {".gitattributes"}
    for item in plan.dataset.uploads:
        assert remote.head.files[item.path].content == (plan.archive_dir / item.path).read_bytes()
    assert not receipt.already_published


@pytest.mark.usefixtures("hub")
def test_receipt_is_kept_with_the_archive(plan: Publication, publish_now: PublishNow) -> None:
    receipt = publish_now(plan)
    assert json.loads((plan.archive_dir / RECEIPT_NAME).read_text()) == receipt.as_dict()
    assert receipt.manifest_sha256 == plan.manifest_sha256
    assert receipt.load_line == 'load_dataset("tester/xrays", revision="v1.0.0")'


def test_weights_go_to_their_own_repository_under_the_same_tag(
    hub: LoopbackHub, archive: TinyArchive, publish_now: PublishNow
) -> None:
    receipt = publish_now(plan_with_weights(archive))
    assert receipt.model is not None
    remote = hub.model(MODEL_REPO)
    assert remote.tags == {"v1.0.0": receipt.model.commit}
    assert remote.head.files["judge.safetensors"].content == archive.weights["judge"].read_bytes()
    assert remote.head.files["README.md"].content == b"# Weights"


def test_publishing_again_changes_nothing(hub: LoopbackHub, archive: TinyArchive, publish_now: PublishNow) -> None:
    first = publish_now(plan_with_weights(archive))
    again = publish_now(plan_with_weights(archive))
    assert again.already_published
    assert again.model is not None
    assert again.model.already_published
    assert (again.commit, again.tag) == (first.commit, first.tag)
    assert hub.calls("POST", "/commit/") == 2  # one per repository, both of the first run
    assert hub.calls("PUT", "/lfs/") == 4 + 3


def test_a_version_never_changes(
    hub: LoopbackHub, plan: Publication, other_archive: TinyArchive, publish_now: PublishNow
) -> None:
    first = publish_now(plan)
    with pytest.raises(PlanChangedError, match=r"v1\.0\.0 .* exists already with other content") as caught:
        publish_now(plan_publication(other_archive.folder, REPO, "1.0.0"))
    assert caught.value.code == 9
    assert hub.dataset(REPO).branches["main"] == first.commit


def test_other_content_of_one_repository_stops_before_the_other_is_touched(
    hub: LoopbackHub, plan: Publication, other_archive: TinyArchive, publish_now: PublishNow
) -> None:
    publish_now(plan)
    with pytest.raises(PlanChangedError):
        publish_now(plan_with_weights(other_archive))
    assert ("models", MODEL_REPO) not in hub.repositories


def test_a_new_version_drops_stale_shards_and_keeps_the_old_version(
    hub: LoopbackHub, plan: Publication, other_archive: TinyArchive, publish_now: PublishNow
) -> None:
    first = publish_now(plan)
    remote = hub.dataset(REPO)
    remote.push("LICENSE", b"CC BY 4.0")
    second = publish_now(plan_publication(other_archive.folder, REPO, "2.0.0"))
    assert "data/train-00001.parquet" not in remote.head.files
    assert "LICENSE" in remote.head.files
    assert "data/train-00001.parquet" in remote.commits[remote.tags["v1.0.0"]].files
    assert remote.tags == {"v1.0.0": first.commit, "v2.0.0": second.commit}


def test_the_same_content_may_carry_two_versions(
    hub: LoopbackHub, plan: Publication, archive: TinyArchive, publish_now: PublishNow
) -> None:
    publish_now(plan)
    second = publish_now(plan_publication(archive.folder, REPO, "1.0.1"))
    assert hub.dataset(REPO).tags.keys() == {"v1.0.0", "v1.0.1"}
    assert hub.dataset(REPO).tags["v1.0.1"] == second.commit
    assert hub.calls("PUT", "/lfs/") == 4


@pytest.mark.usefixtures("hub")
def test_tells_how_far_it_is(plan: Publication, publish_now: PublishNow) -> None:
    seen: list[Status] = []
    publish_now(plan, on_status=seen.append)
    assert [status.done for status in seen] == sorted(status.done for status in seen)
    assert (seen[-1].done, seen[-1].total, seen[-1].unit) == (plan.dataset.bytes, plan.dataset.bytes, "bytes")


# --- tokens


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("token", ["hf_CANARYwrong", READ_ONLY_TOKEN])
def test_a_refused_token_is_told_once_and_never_shown(
    plan: Publication, publish_now: PublishNow, waits: list[float], token: str
) -> None:
    with pytest.raises(AccessError) as caught:
        publish_now(plan, token=token)
    assert caught.value.code == 8
    assert token not in json.dumps(caught.value.as_dict()) + str(caught.value.__cause__)
    assert waits == []


def test_a_token_the_hub_echoes_is_not_passed_on(hub: LoopbackHub, plan: Publication, publish_now: PublishNow) -> None:
    echo = {"X-Error-Message": "The token CANARY-not-hf and hf_CANARY are wrong"}
    hub.faults.append(Fault("GET", "/whoami", status=403, headers=echo))
    with pytest.raises(AccessError, match=r"The token hf_… and hf_… are wrong") as caught:
        publish_now(plan, token="CANARY-not-hf")
    assert "CANARY" not in caught.value.message


def test_no_token(
    hub: LoopbackHub, plan: Publication, publish_now: PublishNow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(AccessError, match="no token"):
        publish_now(plan)
    assert hub.log == []


@pytest.mark.usefixtures("hub")
def test_a_token_that_is_no_header_value_is_not_echoed(plan: Publication, publish_now: PublishNow) -> None:
    with pytest.raises(AccessError, match="characters no token has") as caught:
        publish_now(plan, token="hf_CANARY\nand more")
    assert "CANARY" not in caught.value.message


@pytest.mark.usefixtures("hub")
def test_a_namespace_that_is_not_ours(archive: TinyArchive, publish_now: PublishNow) -> None:
    with pytest.raises(AccessError, match=r"tester may not publish under 'somebody'.*but under: hospital, tester"):
        publish_now(plan_publication(archive.folder, "somebody/xrays", "1.0.0"))
    with pytest.raises(AccessError, match="may not publish under 'library'"):
        publish_now(plan_publication(archive.folder, "library/xrays", "1.0.0"))
    assert publish_now(plan_publication(archive.folder, "hospital/xrays", "1.0.0")).repo == "hospital/xrays"


def test_a_token_revoked_half_way(
    hub: LoopbackHub, plan: Publication, publish_now: PublishNow, waits: list[float]
) -> None:
    hub.faults.append(Fault("POST", "/commit/", status=403))
    with pytest.raises(AccessError):
        publish_now(plan)
    assert waits == []
    assert publish_now(plan).tag == "v1.0.0"


# --- faults of the Hub


@pytest.mark.parametrize("status", [408, 429, 500, 503, None])
@pytest.mark.parametrize(
    ("method", "part"),
    [
        ("GET", "/whoami"),
        ("POST", "/repos/create"),
        ("GET", f"datasets/{REPO}"),
        ("GET", "/tree/"),
        ("POST", "/preupload/"),
        ("POST", "/commit/"),
        ("POST", "/tag/"),
    ],
)
def test_one_fault_anywhere_is_survived(
    hub: LoopbackHub, plan: Publication, publish_now: PublishNow, method: str, part: str, status: int | None
) -> None:
    hub.faults.append(Fault(method, part, status=status))
    receipt = publish_now(plan)
    assert hub.faults == []
    assert hub.dataset(REPO).tags == {"v1.0.0": receipt.commit}
    assert hub.dataset(REPO).history == ["Publish v1.0.0", "initial commit"]


def test_a_fault_while_reading_tags_is_survived(
    hub: LoopbackHub, plan: Publication, archive: TinyArchive, publish_now: PublishNow
) -> None:
    publish_now(plan)
    hub.faults.append(Fault("GET", "/refs", status=503))
    publish_now(plan_publication(archive.folder, REPO, "1.0.1"))
    assert hub.faults == []
    assert hub.dataset(REPO).tags.keys() == {"v1.0.0", "v1.0.1"}


def test_a_faulty_upload_is_survived(hub: LoopbackHub, plan: Publication, publish_now: PublishNow) -> None:
    hub.faults.append(Fault("PUT", "/lfs/", status=503))
    publish_now(plan)
    assert hub.faults == []


@pytest.mark.parametrize("status", [500, None])
@pytest.mark.parametrize("part", ["/repos/create", "/commit/", "/tag/"])
def test_a_lost_reply_is_read_back_not_repeated(
    hub: LoopbackHub, plan: Publication, publish_now: PublishNow, part: str, status: int | None
) -> None:
    hub.faults.append(Fault("POST", part, status=status, applied=True))
    receipt = publish_now(plan)
    assert hub.calls("POST", "/commit/") == 1
    assert hub.dataset(REPO).history == ["Publish v1.0.0", "initial commit"]
    assert hub.dataset(REPO).tags == {"v1.0.0": receipt.commit}


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"Retry-After": "37"}, 37.0),
        ({"RateLimit": '"api";r=0;t=55'}, 55.0),
        ({"Retry-After": "100000"}, 300.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"Retry-After": "soon"}, 1.0),
        ({}, 1.0),
    ],
)
def test_waits_as_long_as_the_hub_asks(
    hub: LoopbackHub,
    plan: Publication,
    publish_now: PublishNow,
    waits: list[float],
    headers: dict[str, str],
    wait_s: float,
) -> None:
    hub.faults.append(Fault("POST", "/commit/", status=429, headers=headers))
    publish_now(plan)
    assert waits == [wait_s]


def test_waits_ten_minutes_in_all_and_no_longer(
    hub: LoopbackHub, plan: Publication, publish_now: PublishNow, waits: list[float]
) -> None:
    hub.faults.extend([Fault("POST", "/commit/", status=429, headers={"Retry-After": "300"})] * MAX_TRIES)
    with pytest.raises(RemoteError, match="HTTP 429"):
        publish_now(plan)
    assert waits == [300.0, 300.0]


@pytest.mark.parametrize(("method", "part"), [("GET", "/whoami"), ("POST", "/commit/"), ("POST", "/tag/")])
def test_gives_up_after_six_tries_and_a_rerun_finishes(
    hub: LoopbackHub, plan: Publication, publish_now: PublishNow, waits: list[float], method: str, part: str
) -> None:
    hub.faults.extend([Fault(method, part, status=503)] * MAX_TRIES)
    with pytest.raises(RemoteError, match="HTTP 503") as caught:
        publish_now(plan)
    assert (caught.value.code, waits) == (7, [1.0, 2.0, 4.0, 8.0, 16.0])
    assert "Run the same command again" in caught.value.fix
    assert publish_now(plan).tag == "v1.0.0"
    assert hub.dataset(REPO).history == ["Publish v1.0.0", "initial commit"]


@pytest.mark.usefixtures("hub")
def test_no_hub_there(
    plan: Publication,
    publish_now: PublishNow,
    waits: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(RemoteError, match=r"http://127\.0\.0\.1:9"):
        publish_now(plan)
    assert len(waits) == MAX_TRIES - 1


def test_a_hub_that_refuses_the_request_is_not_asked_again(
    hub: LoopbackHub, plan: Publication, publish_now: PublishNow, waits: list[float]
) -> None:
    hub.faults.append(Fault("POST", "/commit/", status=400))
    with pytest.raises(RemoteError, match="HTTP 400"):
        publish_now(plan)
    assert waits == []


def test_somebody_pushed_meanwhile(hub: LoopbackHub, plan: Publication, publish_now: PublishNow) -> None:
    hub.faults.append(Fault("POST", "/commit/", meanwhile=lambda: hub.dataset(REPO).push("NOTES.md", b"hello")))
    receipt = publish_now(plan)
    remote = hub.dataset(REPO)
    assert remote.history == ["Publish v1.0.0", "Add NOTES.md", "initial commit"]
    assert remote.commits[receipt.commit].files["NOTES.md"].content == b"hello"


def test_somebody_keeps_pushing(hub: LoopbackHub, plan: Publication, publish_now: PublishNow) -> None:
    for turn in range(4):
        push = Fault("POST", "/commit/", meanwhile=lambda turn=turn: hub.dataset(REPO).push(f"{turn}.md", b"again"))
        hub.faults.append(push)
    with pytest.raises(RemoteError, match="moved 4 times"):
        publish_now(plan)
    assert hub.dataset(REPO).tags == {}


def test_somebody_changed_our_file_meanwhile(hub: LoopbackHub, plan: Publication, publish_now: PublishNow) -> None:
    hub.faults.append(Fault("POST", "/commit/", meanwhile=lambda: hub.dataset(REPO).push("README.md", b"# mine")))
    receipt = publish_now(plan)
    held = hub.dataset(REPO).commits[receipt.commit].files["README.md"]
    assert held.content == (plan.archive_dir / "README.md").read_bytes()


def test_somebody_took_the_tag_meanwhile(hub: LoopbackHub, plan: Publication, publish_now: PublishNow) -> None:
    def take_tag() -> None:
        remote = hub.dataset(REPO)
        remote.tags["v1.0.0"] = remote.push("theirs.md", b"theirs")

    hub.faults.append(Fault("POST", "/tag/", meanwhile=take_tag))
    with pytest.raises(PlanChangedError, match=r"Somebody else tagged v1\.0\.0"):
        publish_now(plan)


def test_died_between_commit_and_tag(hub: LoopbackHub, plan: Publication, publish_now: PublishNow) -> None:
    def die(_: float) -> None:
        raise KeyboardInterrupt

    hub.faults.append(Fault("POST", "/tag/", status=503))
    with pytest.raises(KeyboardInterrupt):
        publish_now(plan, sleep=die)
    committed = hub.dataset(REPO).branches["main"]
    assert hub.dataset(REPO).tags == {}
    assert publish_now(plan).commit == committed
    assert hub.dataset(REPO).tags == {"v1.0.0": committed}
    assert hub.calls("POST", "/commit/") == 1


def test_died_while_uploading_sends_no_shard_twice(
    hub: LoopbackHub, plan: Publication, publish_now: PublishNow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xrarchive.hub.committing._BLOCK_BYTES", 1)
    monkeypatch.setattr("xrarchive.hub.committing._MAX_BLOCKS", 1000)

    def die_at_the_third_file(_: Status) -> None:
        if hub.calls("PUT", "/lfs/") == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish_now(plan, on_status=die_at_the_third_file)
    assert hub.dataset(REPO).history == ["initial commit"]
    publish_now(plan)
    assert hub.calls("PUT", "/lfs/") == 4


def test_a_shard_changed_after_the_plan(hub: LoopbackHub, plan: Publication, publish_now: PublishNow) -> None:
    (plan.archive_dir / "data/train-00001.parquet").write_bytes(b"something else")
    with pytest.raises(DamageError, match="changed while it was uploaded"):
        publish_now(plan)
    assert hub.dataset(REPO).history == ["initial commit"]


def test_a_hub_that_stored_other_bytes_gets_no_tag(
    hub: LoopbackHub, plan: Publication, publish_now: PublishNow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "objects", Rotten())
    with pytest.raises(RemoteError, match="holds other bytes"):
        publish_now(plan)
    assert hub.dataset(REPO).tags == {}


class Rotten(dict[str, StoredFile]):
    """A store in which every object rots as it is written."""

    def __setitem__(self, oid: str, file: StoredFile) -> None:
        rotten = file.content[:-1] + bytes([file.content[-1] ^ 1])
        super().__setitem__(oid, StoredFile(rotten, large=True))


# --- being a guest in the client library


@pytest.mark.usefixtures("hub")
def test_settings_of_the_client_library_are_put_back(
    plan: Publication, publish_now: PublishNow, capfd: pytest.CaptureFixture[str]
) -> None:
    from huggingface_hub import get_session
    from huggingface_hub.utils import are_progress_bars_disabled

    before = get_session().timeout
    publish_now(plan)
    assert get_session().timeout == before
    assert not are_progress_bars_disabled()
    assert capfd.readouterr().out == ""


def test_a_hub_that_never_answers_is_left(
    hub: LoopbackHub, plan: Publication, publish_now: PublishNow, monkeypatch: pytest.MonkeyPatch
) -> None:
    from threading import Event

    from xrarchive.hub import client

    over, waited_for = Event(), []
    monkeypatch.setattr(client, "_READ_TIMEOUT_S", 1.0)
    hub.faults.append(Fault("GET", "/refs", meanwhile=lambda: waited_for.append(over.wait(60))))
    assert publish_now(plan).tag == "v1.0.0"
    assert waited_for == []
    over.set()


@pytest.mark.usefixtures("hub")
def test_a_receipt_that_cannot_be_written_does_not_unpublish(
    plan: Publication,
    publish_now: PublishNow,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*_: object) -> None:
        raise StorageError("the disk is full", fix="free some space")

    monkeypatch.setattr("xrarchive.hub.publishing.write_json", refuse)
    assert publish_now(plan).tag == "v1.0.0"
    assert "the disk is full" in caplog.text


# --- how little is asked of the Hub


def test_a_release_asks_little_of_the_hub(
    hub: LoopbackHub, archive: TinyArchive, other_archive: TinyArchive, publish_now: PublishNow
) -> None:
    """At most 15 calls of the API a repository, however many files; uploads themselves go to the store."""
    for folder, version in ((archive.folder, "1.0.0"), (other_archive.folder, "2.0.0")):
        hub.log.clear()
        publish_now(plan_publication(folder, REPO, version))
        calls = [(method, path) for method, path, _ in hub.log if not path.startswith("/lfs/")]
        assert len(calls) <= 15, calls
        assert [path for _, path in calls if "/preupload/" in path] == [f"/api/datasets/{REPO}/preupload/main"]


def test_three_hundred_shards_are_one_commit(hub: LoopbackHub, plan: Publication, publish_now: PublishNow) -> None:
    shards = [in_memory(f"data/train-{index:05d}.parquet", b"PAR1%d" % index) for index in range(300)]
    many = replace(plan, dataset=replace(plan.dataset, uploads=(*shards, *plan.dataset.uploads[2:])))
    receipt = publish_now(many)
    assert hub.dataset(REPO).history == ["Publish v1.0.0", "initial commit"]
    assert hub.calls("POST", "/commit/") == 1
    calls = [path for _, path, _ in hub.log if not path.startswith("/lfs/")]
    assert len(calls) <= 17, "preupload answers for 256 files at a time, the store for 100"
    assert sum(path.startswith("data/") for path in hub.dataset(REPO).commits[receipt.commit].files) == 300
