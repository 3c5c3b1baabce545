import dataclasses
import json
import shutil

import pytest
from made_archive import (
    FINDINGS,
    REQUESTS,
    ROWS_PER_SHARD,
    finish,
    make_archive,
    make_plan,
    shard_bytes,
    small_shards,
    write_units,
)

from xrarchive.archive import shards, writer
from xrarchive.archive.manifest import MANIFEST_NAME, read_manifest
from xrarchive.archive.reader import read_table
from xrarchive.errors import DamageError, InputDataError, PlanChangedError, ShortfallError, StorageError
from xrarchive.files import locked
from xrarchive.records import ImageRequest, Tally

PLAN = make_plan()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_a_new_folder_is_claimed(folder):
    assert writer.claim_folder(folder, PLAN) is None
    assert json.loads((folder / ".work/plan.json").read_bytes())["seed"] == 3
    assert writer.missing_units(folder, PLAN) == [0, 1, 2]


def test_the_same_plan_goes_on_where_it_was(folder, made):
    writer.claim_folder(folder, PLAN)
    write_units(folder, PLAN, [2, 0])
    assert writer.claim_folder(folder, make_plan()) is None
    assert writer.missing_units(folder, PLAN) == [1]
    with small_shards(ROWS_PER_SHARD):
        write_units(folder, PLAN)
        finish(folder, PLAN)
    assert shard_bytes(folder) == shard_bytes(made)
    assert not (folder / ".work").exists()


def test_a_unit_counts_when_its_record_is_there(folder):
    writer.claim_folder(folder, PLAN)
    write_units(folder, PLAN)
    (folder / ".work/unit-00001.json").unlink()
    assert writer.missing_units(folder, PLAN) == [1]


def test_a_finished_archive_is_given_back(archive):
    before = shard_bytes(archive)
    assert writer.claim_folder(archive, PLAN) == read_manifest(archive)
    assert shard_bytes(archive) == before


@pytest.mark.parametrize("claim", [True, False], ids=["whole", "its claim gone first"])
def test_units_left_by_a_kill_right_after_the_manifest_go(archive, tmp_path, claim):
    shutil.copytree(archive / "data", archive / ".work")
    if claim:
        copy_claim(archive, PLAN, tmp_path / "other")
    writer.claim_folder(archive, PLAN)
    assert not (archive / ".work").exists()


def copy_claim(archive, plan, folder):
    folder.mkdir()
    writer.claim_folder(folder, plan)
    shutil.copy(folder / ".work/plan.json", archive / ".work/plan.json")


def test_units_already_joined_are_no_obstacle_to_the_next_extension(archive, tmp_path):
    """The same command after a kill asks for less, if something could not be reached: another plan."""
    shutil.copytree(archive / "data", archive / ".work")
    copy_claim(archive, PLAN, tmp_path / "other")
    following = dataclasses.replace(PLAN, requests=(ImageRequest(("Mass",), 1, start=4),), first_unit=PLAN.units)
    assert writer.claim_folder(archive, following, extending=True) is None
    assert writer.missing_units(archive, following) == [0]
    assert not (archive / ".work/train-00000.parquet").exists()


def test_an_extension_goes_on_and_no_other_takes_its_place(archive):
    first, second = (
        dataclasses.replace(PLAN, requests=(ImageRequest(("Mass",), count, start=4),), first_unit=PLAN.units)
        for count in (5, 6)
    )
    assert writer.claim_folder(archive, first, extending=True) is None
    write_units(archive, first, [1])
    assert writer.claim_folder(archive, first, extending=True) is None
    assert writer.missing_units(archive, first) == [0]
    with pytest.raises(PlanChangedError, match="requests: 5 Mass there, 6 Mass now"):
        writer.claim_folder(archive, second, extending=True)
    assert writer.claim_folder(archive, PLAN) == read_manifest(archive)  # the build is done, the extension waits
    assert writer.missing_units(archive, first) == [0]


def test_units_of_two_versions_are_not_mixed(folder):
    writer.claim_folder(folder, PLAN, versions={"numpy": "2.0"})
    with pytest.raises(PlanChangedError, match=r"numpy: 2\.0 there, 2\.1 now"):
        writer.claim_folder(folder, PLAN, versions={"numpy": "2.1"})


def test_shards_left_by_a_kill_before_the_manifest_are_written_again(folder, made):
    writer.claim_folder(folder, PLAN)
    write_units(folder, PLAN)
    (folder / "data").mkdir()
    (folder / "data/train-00000.parquet").write_bytes(b"torn")
    assert writer.claim_folder(folder, PLAN) is None
    with small_shards(ROWS_PER_SHARD):
        finish(folder, PLAN)
    assert shard_bytes(folder) == shard_bytes(made)


CHANGES = {
    "seed": (make_plan(seed=4), "seed: 3 there, 4 now"),
    "count": (
        make_plan(requests=(ImageRequest(("Mass",), 5), *REQUESTS[1:])),
        r"requests: 4 Mass, 3 No Finding without Pleural_Thickening, 2 Effusion\|Mass there, 5 Mass, 3 No",
    ),
    "order": (make_plan(requests=REQUESTS[::-1]), r"2 Effusion\|Mass, 3 No Finding .*, 4 Mass now"),
    "absent": (
        make_plan(requests=(ImageRequest(("Mass",), 4, ("Effusion", "No Finding")), *REQUESTS[1:])),
        r"there, 4 Mass without Effusion\|No Finding, 3 No",
    ),
    "search": (make_plan(unit_images=5), "unit_images: 4 there, 5 now"),
}


@pytest.mark.parametrize(("plan", "difference"), CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("state", ["finished", "unfinished"])
def test_another_plan_is_refused_with_the_difference(plan, difference, state, made, folder):
    if state == "unfinished":
        writer.claim_folder(folder, PLAN)
    place = made if state == "finished" else folder
    with pytest.raises(PlanChangedError, match=difference) as caught:
        writer.claim_folder(place, plan)
    assert f" an {state} archive" in str(caught.value) or f" a {state} archive" in str(caught.value)
    assert "--out" in caught.value.fix


def test_other_weights_are_another_plan(made):
    plan = make_plan()
    plan.weights["guide"] = "e" * 64
    with pytest.raises(PlanChangedError, match="guide: bbbbbbbbbbbb there, eeeeeeeeeeee now"):
        writer.claim_folder(made, plan)


def test_a_folder_with_other_things_is_refused_and_left_alone(folder):
    (folder / "thesis.tex").write_text("mine")
    with pytest.raises(InputDataError, match=r"not empty and holds no archive: thesis\.tex"):
        writer.claim_folder(folder, PLAN)
    assert [path.name for path in folder.iterdir()] == ["thesis.tex"]


def test_hidden_files_are_no_strangers(folder):
    (folder / ".DS_Store").touch()
    assert writer.claim_folder(folder, PLAN) is None


def test_a_damaged_plan_says_what_to_remove(folder):
    writer.claim_folder(folder, PLAN)
    (folder / ".work/plan.json").write_text("{")
    with pytest.raises(DamageError) as caught:
        writer.claim_folder(folder, PLAN)
    assert ".work" in caught.value.fix


@pytest.mark.parametrize("damage", ["flipped", "missing"])
def test_a_damaged_unit_is_found_before_it_reaches_a_shard(folder, damage):
    writer.claim_folder(folder, PLAN)
    write_units(folder, PLAN)
    path = folder / ".work/data-00001.parquet"
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 20] ^= 1
    path.write_bytes(data) if damage == "flipped" else path.unlink()
    with pytest.raises(DamageError, match="data-00001") as caught:
        finish(folder, PLAN)
    assert ".work" in caught.value.fix
    assert not (folder / MANIFEST_NAME).exists()


def test_not_one_image_is_a_shortfall_and_no_archive(folder):
    writer.claim_folder(folder, PLAN)
    for index in range(PLAN.units):
        writer.write_unit(folder, index, [], [Tally(("Mass",), (), 3, 0, 12, 0, 0.25)], FINDINGS)
    with pytest.raises(ShortfallError, match="Not one of 9 images was reached from 36 starts"):
        finish(folder, PLAN)
    assert not (folder / MANIFEST_NAME).exists()


def test_tallies_of_units_are_summed_with_the_nearest_miss_and_medians_of_all_images(folder):
    writer.claim_folder(folder, PLAN)
    write_units(folder, PLAN)
    for index, missed_by in enumerate((0.25, None, 0.125)):
        tally = Tally(("Mass",), (), 2, 1, 5, 1 if index else 0, missed_by)
        ways = {"steps": [index, 10], "travel_deg": [0.5 * index, 1 / 3]}
        record = {"tallies": [dataclasses.asdict(tally) | ways]}
        (folder / f".work/unit-0000{index}.json").write_text(json.dumps(record))
    tallies = finish(folder, PLAN).tallies
    assert tallies[0] == Tally(("Mass",), (), 4, 3, 15, 2, 0.125, 6.0, 0.333)
    assert tallies[0].missing == 1
    assert tallies[1] == Tally(("No Finding",), ("Pleural_Thickening",), 3, 0, 0, 0, None)


def test_requests_that_differ_in_what_is_absent_keep_tallies_of_their_own(tmp_path):
    requests = (ImageRequest(("Mass",), 3), ImageRequest(("Mass",), 2, ("Effusion",)))
    folder = make_archive(tmp_path / "out", make_plan(requests=requests))
    tallies = read_manifest(folder).tallies
    assert [(tally.absent, tally.asked, tally.accepted) for tally in tallies] == [((), 3, 3), (("Effusion",), 2, 2)]
    table = read_table(folder, ["Mass", "Effusion"])
    assert table["Mass"].to_pylist() == [True] * 5
    assert table["Effusion"].to_pylist() == [None, False, None, False, None]


# Several processes


def test_others_wait_until_the_first_process_holds_the_folder(folder):
    with pytest.raises(StorageError, match=r"Waited 0 s for .*plan\.json of the first process"):
        writer.await_claim(folder, PLAN, timeout_s=0.01)
    writer.claim_folder(folder, PLAN)  # left of an earlier run: the first process is yet to clean up
    with pytest.raises(StorageError, match="of the first process"):
        writer.await_claim(folder, PLAN, timeout_s=0.01)
    with locked(folder):
        assert writer.await_claim(folder, PLAN, timeout_s=0.01) is None
        with pytest.raises(StorageError, match="of the first process"):
            writer.await_claim(folder, make_plan(seed=4), timeout_s=0.01)


def test_others_are_given_a_finished_archive(archive):
    assert writer.await_claim(archive, PLAN, timeout_s=0.01) == read_manifest(archive)
    assert writer.await_manifest(archive, PLAN, timeout_s=0.01) == read_manifest(archive)


def test_the_first_process_waits_for_units_that_keep_coming(folder, monkeypatch):
    writer.claim_folder(folder, PLAN)
    write_units(folder, PLAN, [0])
    coming = iter([2, 1])
    monkeypatch.setattr(writer.time, "sleep", lambda _s: write_units(folder, PLAN, [next(coming)]))
    writer.await_units(folder, PLAN, timeout_s=5)
    assert writer.missing_units(folder, PLAN) == []
    with pytest.raises(StorageError, match="the manifest of"):
        writer.await_manifest(folder, PLAN, timeout_s=-1)


def test_the_first_process_does_not_wait_for_ever(folder):
    writer.claim_folder(folder, PLAN)
    with pytest.raises(StorageError, match="Waited 0 s for unit 0 of") as caught:
        writer.await_units(folder, PLAN, timeout_s=0.01)
    assert "run the same command again" in caught.value.fix


def test_the_manifest_comes_last(folder, monkeypatch):
    writer.claim_folder(folder, PLAN)
    write_units(folder, PLAN)

    def refuse(*_):
        assert not (folder / MANIFEST_NAME).exists()
        assert (folder / "data/train-00000.parquet").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(shards, "write_readme", refuse)
    with pytest.raises(KeyboardInterrupt):
        finish(folder, PLAN)
    assert not (folder / MANIFEST_NAME).exists()
    assert (folder / ".work").exists()


def test_row_order_does_not_depend_on_the_size_of_units(tmp_path):
    small, large = (make_archive(tmp_path / str(size), make_plan(unit_images=size)) for size in (2, 48))
    names = [name for name in shard_bytes(small) if name.endswith(".parquet")]
    assert names
    assert all((small / name).read_bytes() == (large / name).read_bytes() for name in names)
