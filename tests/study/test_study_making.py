"""What a study consists of: choice, order, blinding, and what is refused."""

from __future__ import annotations

import base64
import dataclasses
import itertools
import json
import re
import shutil
from collections import Counter

import numpy as np
import pytest

from xrarchive.archive.manifest import read_manifest
from xrarchive.archive.reader import read_pixels, read_table
from xrarchive.errors import DamageError, GateError, InputDataError, SettingsError
from xrarchive.pixels import decode_png
from xrarchive.radiographs import open_set
from xrarchive.study import leaks, making
from xrarchive.study.arranging import MAIN, PRACTICE, REPEAT, Slot, arrange, make_slots
from xrarchive.study.folder import read_study
from xrarchive.study.making import require_may_leave
from xrarchive.study.presenting import encode_films, pad_png, present
from xrarchive.study.protocol import Protocol
from xrarchive.study.selecting import REAL, SYNTHETIC
from xrarchive.terms import TERMS

BLOCK = re.compile(r'<script type="text/plain" id="(\w+)">([^<]*)</script>')


def films_in(page):
    return {image: base64.b64decode(text) for image, text in BLOCK.findall(page.read_text())}


@pytest.fixture(scope="module")
def folder(studies):
    return studies(task="both")


@pytest.fixture(scope="module")
def study(folder):
    return read_study(folder)[0]


@pytest.fixture(scope="module")
def key(folder):
    return read_study(folder)[1]


def test_the_same_input_gives_the_same_bytes_and_another_seed_another_study(make, studies, tmp_path):
    folder = studies(task="both")
    make(tmp_path / "again", task="both")
    make(tmp_path / "other", task="both", seed=1)
    names = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    assert len(names) == 5
    for name in names:
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()
        assert (tmp_path / "other" / name).read_bytes() != (folder / name).read_bytes()


def test_half_is_real_and_findings_are_balanced_on_both_sides(study, key):
    kinds = Counter((entry.kind, entry.finding) for image, entry in key.images.items() if image in study.scored_images)
    assert sum(count for (kind, _), count in kinds.items() if kind == REAL) == 10
    assert {name: kinds[REAL, name] for _, name in kinds} == {name: kinds[SYNTHETIC, name] for _, name in kinds}
    assert max(kinds.values()) - min(kinds.values()) <= 1


def test_patients_and_films_are_distinct_and_practice_has_its_own(study, key, tiny_set):
    real = [int(entry.source) for entry in key.images.values() if entry.kind == REAL]
    assert len(set(open_set(tiny_set).patients[real])) == len(real) == 13
    synthetic = [entry.source for entry in key.images.values() if entry.kind == SYNTHETIC]
    assert len(set(synthetic)) == len(synthetic) == 13
    for trials in study.trials.values():
        practice = {image for trial in trials if trial.part == PRACTICE for image in trial.images}
        assert len(practice) == 6
        assert not practice & set(study.scored_images)


def test_every_reader_has_the_same_cases_in_an_order_of_his_own(study):
    orders = {}
    for reader, trials in study.trials.items():
        main = [trial.images for trial in trials if trial.part == MAIN]
        assert sorted(image for (image,) in main) == list(study.scored_images)
        orders[reader] = tuple(main)
    assert len(set(orders.values())) == len(orders) == 3


def test_a_tenth_comes_twice_half_of_it_real_and_not_soon(study, key):
    for trials in study.trials.values():
        first = {trial.images: at for at, trial in enumerate(trials) if trial.part == MAIN}
        again = {trial.images: at for at, trial in enumerate(trials) if trial.part == REPEAT}
        assert Counter(key.images[image].kind for (image,) in again) == {REAL: 1, SYNTHETIC: 1}
        assert all(at - first[images] >= 5 for images, at in again.items())


def test_blocks_hold_both_kinds_in_about_equal_numbers():
    protocol = Protocol(cases=200, readers=2, repeats=0)
    slots = make_slots(list(itertools.islice(itertools.cycle("abcd"), 103)), protocol, (64,))
    arrangement = arrange(slots, protocol, 5)
    kinds = dict(zip(arrangement.ids, (slot.kind for slot in slots), strict=True))
    for trials in arrangement.trials.values():
        blocks = {}
        for trial in trials:
            blocks.setdefault(trial.block, []).append(kinds[trial.images[0]])
        assert [len(block) for block in blocks.values()] == [6, 50, 50, 50, 50]
        assert all(abs(block.count(REAL) - block.count(SYNTHETIC)) <= 8 for block in blocks.values())


def test_pairs_show_a_real_and_a_synthetic_film_of_one_finding_on_sides_that_say_nothing(studies):
    study, key = read_study(studies(layout="pairs", cases=20))
    for trials in study.trials.values():
        left = Counter()
        for trial in trials:
            one, other = (key.images[image] for image in trial.images)
            assert {one.kind, other.kind} == {REAL, SYNTHETIC}
            assert one.finding == other.finding
            left[one.kind] += trial.part == MAIN
        assert abs(left[REAL] - left[SYNTHETIC]) <= 6


def test_a_review_has_a_block_for_each_finding(studies):
    study, key = read_study(studies(task="review"))
    for trials in study.trials.values():
        of_block = {trial.block: trial.finding for trial in trials if trial.part != PRACTICE}
        assert sorted(of_block.values()) == ["Effusion", "Mass", "No Finding"]
        for trial in trials:
            assert key.images[trial.images[0]].finding == trial.finding
            assert trial.part == PRACTICE or of_block[trial.block] == trial.finding


def test_the_page_holds_each_film_as_stored_and_nothing_of_the_truth(folder, study, key, study_archive, tiny_set):
    page = folder / "readers" / "reader-1.html"
    films, text = films_in(page), page.read_text()
    assert sorted(films) == sorted(key.images) == list(films)
    ids = read_table(study_archive, ["image_id"])["image_id"].to_pylist()
    for image, data in films.items():
        entry = key.images[image]
        if entry.synthetic:
            expected = read_pixels(study_archive, [ids.index(entry.source)])[0]
        else:
            expected = present(open_set(tiny_set).read([int(entry.source)], 16)[0], 12)
        assert np.array_equal(decode_png(data), expected)
    rest = BLOCK.sub("", text)
    plan = json.loads(re.search(r'id="plan">(.*?)</script>', rest)[1])
    assert set(plan["trials"][0]) == {"practice", "block", "images", "finding"}
    for secret in ("synthetic by", "tEXt", "xrarchive, ", str(study_archive), str(tiny_set), study.key_sha256):
        assert secret not in text
    assert not any(entry.source in rest for entry in key.images.values() if entry.synthetic)
    assert not re.search(rb"Synthetic|tEXt", b"".join(films.values()))


def test_all_films_have_one_length_and_the_same_chunks(folder):
    text = (folder / "readers" / "reader-2.html").read_text()
    assert len({len(found[0]) for found in re.finditer(BLOCK, text)}) == 1
    assert len({len(data) for data in films_in(folder / "readers" / "reader-2.html").values()}) == 1


def test_padding_changes_no_pixel_and_needs_room(rng):
    film = rng.integers(0, 256, (9, 9), np.uint8)
    (data,) = encode_films([film])
    assert np.array_equal(decode_png(pad_png(data, len(data) + 100)), film)
    with pytest.raises(ValueError, match="cannot be padded"):
        pad_png(data, len(data) + 3)
    assert encode_films([]) == []


@pytest.mark.parametrize(("dtype", "shape"), [(np.uint8, (32, 32)), (np.uint16, (32, 32)), (np.uint8, (32, 32, 3))])
def test_films_of_every_mode_become_8_bit_grey_of_the_size(rng, dtype, shape):
    shown = present(rng.integers(0, 200, shape).astype(dtype), 16)
    assert shown.dtype == np.uint8
    assert shown.shape == (16, 16)


def test_several_sizes_take_turns_and_couples_share_theirs(studies):
    _, key = read_study(studies(sizes_px=[8, 12]))
    sizes = Counter((entry.kind, entry.finding, entry.size_px) for entry in key.images.values())
    assert {size for _, _, size in sizes} == {8, 12}
    assert all(sizes[REAL, finding, size] == sizes[SYNTHETIC, finding, size] for _, finding, size in sizes)


# ---- what is refused ----


def test_nothing_is_written_without_a_yes(make, tmp_path):
    asked = []
    assert make(tmp_path / "study", confirm=lambda plan: asked.append(plan)) is None
    assert not (tmp_path / "study").exists()
    assert (asked[0].real, asked[0].synthetic, asked[0].readers) == (13, 13, 3)
    assert asked[0].terms == ("The set records no terms: make sure that its films may be shown to your readers.",)


def test_terms_that_forbid_it_are_final(tiny_set):
    radiographs = open_set(tiny_set)
    forbidden = [name for name, terms in TERMS.items() if not terms.may_leave]
    assert forbidden
    for name in forbidden:
        meta = {**radiographs.meta, "settings": {**radiographs.meta["settings"], "terms": [name]}}
        with pytest.raises(GateError, match="forbids sharing"):
            require_may_leave(dataclasses.replace(radiographs, meta=meta))
    for name in set(TERMS) - set(forbidden):
        meta = {**radiographs.meta, "settings": {**radiographs.meta["settings"], "terms": [name]}}
        require_may_leave(dataclasses.replace(radiographs, meta=meta))


@pytest.mark.parametrize("task", ["realism", "both", "review"])
def test_small_films_are_judged_in_technical_studies_only(make, tmp_path, task):
    with pytest.raises(GateError, match="12 px wide; whether a film looks real is asked from 256 px on"):
        make(tmp_path / "study", task=task, technical=False)


def test_findings_may_be_asked_of_small_films(make, tmp_path):
    assert make(tmp_path / "study", task="findings", technical=False).technical is False


def test_too_few_couples_are_an_error_that_counts_them(make, tmp_path):
    with pytest.raises(InputDataError, match=r"give \d+ couples .* 103 are needed, practice included"):
        make(tmp_path / "study", cases=200)


def test_sizes_larger_than_either_side_are_refused(make, tmp_path):
    with pytest.raises(SettingsError, match="8 to 12 px: the archive holds 12 px, the radiographs 16 px"):
        make(tmp_path / "study", sizes_px=[16])


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"cases": 8}, "cases"), ({"cases": 21}, "even"), ({"practice": 4}, "practice"), ({"readers": 0}, "readers"),
        ({"repeats": 0.6}, "repeats"), ({"repeats": float("nan")}, "repeats"), ({"margin": 0.5}, "margin"),
        ({"task": "look"}, "task"), ({"layout": "pairs", "task": "both"}, "design"), ({"title": "  "}, "title"),
        ({"block": 0}, "block"), ({"seed": -1}, "seed"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused_by_name(settings, word):
    with pytest.raises(SettingsError, match=word):
        Protocol(**settings)


def test_a_folder_in_use_is_left_alone(make, tmp_path):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "mine.txt").write_text("mine")
    with pytest.raises(InputDataError, match="not empty"):
        make(tmp_path / "study")
    assert [path.name for path in (tmp_path / "study").iterdir()] == ["mine.txt"]


# ---- the leak test can fail ----


def leaky(make, tmp_path, words):
    with pytest.raises(GateError, match=words):
        make(tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_a_study_that_is_tight_says_so(study):
    assert all(leak.high < leaks.MAX_AUC for leak in study.leaks)
    assert [leak.auc for leak in study.leaks[:3]] == [0.5] * 3
    names = [leak.property for leak in study.leaks]
    assert names == [*leaks.BYTE_PROPERTIES, *leaks.DRAWN_PROPERTIES, leaks.ALL]


def test_noise_is_told_from_films_by_its_statistics_and_that_refuses_nothing(study):
    assert {leak.property: leak.high for leak in study.statistics}["sharpness"] > 0.9


def test_files_of_different_lengths_are_found(make, tmp_path, monkeypatch):
    monkeypatch.setattr("xrarchive.study.presenting.pad_png", lambda data, _length: data)
    leaky(make, tmp_path, "length of the file")


def test_a_mark_in_synthetic_files_alone_is_found(make, tmp_path, monkeypatch):
    from xrarchive.pixels import encode_png

    def marked(films):
        # Films of the tiny set are gradients, those of the archive are noise.
        return [encode_png(film, text={"Source": "Synthetic" if film.std() > 60 else "Somewhere"}) for film in films]

    monkeypatch.setattr(making, "encode_films", marked)
    leaky(make, tmp_path, "layout of the file")


def test_ids_that_follow_the_choice_are_found(make, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "xrarchive.study.arranging._draw_ids", lambda count, _rng: tuple(f"{n % 2}{n:07}" for n in range(count))
    )
    leaky(make, tmp_path, "id, first half .*place in the page")


def test_an_order_that_is_not_random_is_found(make, tmp_path, monkeypatch):
    def real_first(order, slots, share, rng):
        del share, rng
        return [(MAIN, question) for question in sorted(order, key=lambda each: slots[each[0]].kind)]

    monkeypatch.setattr("xrarchive.study.arranging._with_repeats", real_first)
    leaky(make, tmp_path, "place in the order")


def test_synthetic_films_that_come_twice_more_often_are_found(make, tmp_path, monkeypatch):
    def synthetic_again(order, slots, share, rng):
        del share, rng
        again = [(REPEAT, each) for each in order if slots[each[0]].kind == SYNTHETIC]
        return [*((MAIN, each) for each in order), *again[:5]]

    monkeypatch.setattr("xrarchive.study.arranging._with_repeats", synthetic_again)
    leaky(make, tmp_path, "times shown")


def test_a_leak_that_only_two_properties_give_together_is_found(rng):
    slots = [Slot(n // 2, (REAL, SYNTHETIC)[n % 2], "a", False, 8) for n in range(60)]
    first = rng.random(60)
    second = np.where([slot.kind == SYNTHETIC for slot in slots], first, 1 - first) + rng.normal(0, 0.02, 60)
    labels = np.array([slot.kind == SYNTHETIC for slot in slots], float)
    couples = np.array([slot.couple for slot in slots])
    values = np.column_stack([first, second])
    found = leaks._learned(values, labels, np.arange(60), couples, 0)
    assert found.auc > 0.9
    assert leaks._learned(rng.random((60, 2)), labels, np.arange(60), couples, 0).auc < 0.7


# ---- the folder afterwards ----


def test_a_key_that_was_changed_is_found(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "study")
    path = tmp_path / "study" / "key.json"
    path.write_text(path.read_text().replace('"real"', '"synthetic"', 1))
    with pytest.raises(DamageError, match="not the key"):
        read_study(tmp_path / "study")


def test_a_study_that_was_changed_is_found(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "study")
    path = tmp_path / "study" / "study.json"
    path.write_text(path.read_text().replace("{", "{ ", 1))
    with pytest.raises(DamageError, match="changed or damaged"):
        read_study(tmp_path / "study")


def test_an_empty_folder_is_no_study(tmp_path):
    with pytest.raises(InputDataError, match="No reader study"):
        read_study(tmp_path)


def test_the_report_says_what_was_made(make, tmp_path, study_archive):
    report = make(tmp_path / "study")
    assert report.sha256 == read_study(tmp_path / "study")[0].sha256
    assert [page.name for page in report.pages] == ["reader-1.html", "reader-2.html", "reader-3.html"]
    assert report.page_bytes == report.pages[0].stat().st_size
    assert sum(report.findings.values()) == 10
    assert read_study(tmp_path / "study")[0].manifest_sha256 == read_manifest(study_archive).sha256
