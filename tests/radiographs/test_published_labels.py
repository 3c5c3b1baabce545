"""The real label files, whole, against counts made beside the package: every record, every label, every policy."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from published_labels import link, records, wheel_file

from xrarchive.radiographs.csv_table import parse_table
from xrarchive.radiographs.layouts import Choices, Listing, read_listing
from xrarchive.radiographs.layouts.names import CHEXPERT, PADCHEST, PAIRS, VINDR_KAGGLE

ALL = Choices(views=("all",))
NIH, CHEXPERT_TABLE = "Data_Entry_2017_v2020.csv.gz", "chexpert_train.csv.gz"
PADCHEST_TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz"
VINDR_TABLE, RSNA_TABLE = "vinbigdata-train.csv.gz", "kaggle_stage_2_train_labels.csv.zip"
SIIM_TABLE = "siim-pneumothorax-train-rle.csv.gz"


def counts(listing: Listing, name: str) -> Counter[int | None]:
    index = listing.vocabulary.index(name)
    return Counter(row.labels[index] for row in listing.rows)


def patients(listing: Listing) -> set[str]:
    return {row.patient for row in listing.rows}


def require_whole_patients(listing: Listing) -> None:
    splits = defaultdict(set)
    for row in listing.rows:
        splits[row.patient].add(row.split)
    assert max(map(len, splits.values())) == 1


@pytest.mark.slow
def test_nih(tmp_path: Path) -> None:
    listing = read_listing(link(tmp_path, NIH, "BBox_List_2017.csv.gz"))
    table = list(records(NIH))
    assert listing.layout == "nih-chestxray14"
    assert len(listing.rows) == len(table) == 112_120
    assert len(patients(listing)) == len({record["Patient ID"] for record in table}) == 30_805
    expected = Counter(name for record in table for name in record["Finding Labels"].split("|"))
    assert len({record["Finding Labels"] for record in table}) == 836
    for name in listing.vocabulary:
        assert counts(listing, name) == {1: expected[name], 0: len(table) - expected[name]}
    assert expected["No Finding"] == 60_361
    assert expected["Hernia"] == 227
    assert Counter(row.view for row in listing.rows) == {"PA": 67_310, "AP": 44_810}
    assert max(row.age for row in listing.rows if row.age is not None) == 95
    assert listing.unmapped == {}
    assert "984 boxes on 880 films" in listing.notes[0]
    require_whole_patients(listing)


@pytest.fixture(scope="module")
def chexpert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return link(tmp_path_factory.mktemp("chexpert"), CHEXPERT_TABLE)


@pytest.fixture(scope="module")
def chexpert_records() -> list[dict[str, str]]:
    return list(records(CHEXPERT_TABLE))


VALUES = {"1.0": 1, "0.0": 0, "-1.0": -1, "": None}


def implied(record: dict[str, str]) -> dict[str, int | None]:
    """Labels of a line and what `No Finding` implies, written down once more."""
    labels = {CHEXPERT.table[word]: VALUES[record[word]] for word in CHEXPERT.table}
    findings = [name for name in labels if name not in ("No Finding", "Support Devices")]
    if labels["No Finding"] == 1:
        labels |= {name: 0 for name in findings if labels[name] is None}
    elif any(labels[name] == 1 for name in findings):
        labels["No Finding"] = 0
    return labels


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "resolved"),
    [
        ((), {}),
        (("ones",), dict.fromkeys(CHEXPERT.known, 1)),
        (("zeros",), dict.fromkeys(CHEXPERT.known, 0)),
        (
            ("zeros", "Edema=ones", "Atelectasis=ignore"),
            {**dict.fromkeys(CHEXPERT.known, 0), "Edema": 1, "Atelectasis": -1},
        ),
    ],
)
def test_chexpert_keeps_every_label_under_every_policy(
    chexpert: Path, chexpert_records: list[dict[str, str]], words: tuple[str, ...], resolved: dict[str, int]
) -> None:
    listing = read_listing(chexpert, ("all",), Choices(views=("all",), uncertain=words))
    assert listing.layout == "chexpert"
    assert len(listing.rows) == len(chexpert_records) == 223_414
    assert len(patients(listing)) == 64_540
    expected: dict[str, Counter[int | None]] = {name: Counter() for name in listing.vocabulary}
    for record in chexpert_records:
        for name, value in implied(record).items():
            expected[name][resolved.get(name, value) if value == -1 else value] += 1
    for name in listing.vocabulary:
        assert counts(listing, name) == expected[name], name
    if not words:
        raw = {word: Counter(record[word] for record in chexpert_records) for word in CHEXPERT.table}
        assert raw["Atelectasis"]["-1.0"] == expected["Atelectasis"][-1] == 33_739
        assert raw["Consolidation"]["-1.0"] == expected["Consolidation"][-1] == 27_742
        for word, name in CHEXPERT.table.items():
            assert expected[name][1] == raw[word]["1.0"], "no positive label is made or lost"
            assert expected[name][-1] == raw[word]["-1.0"]
    require_whole_patients(listing)


@pytest.mark.slow
def test_chexpert_films_keep_their_own_labels(chexpert: Path, chexpert_records: list[dict[str, str]]) -> None:
    """Merging a patient's lines (groupby.first) would give 18.7 % of patients labels of another film."""
    listing = read_listing(chexpert, ("all",))
    frontal = [record for record in chexpert_records if record["Frontal/Lateral"] == "Frontal"]
    taken = [record for record in frontal if record["AP/PA"] not in ("LL", "RL")]
    assert len(frontal) - len(taken) == 17
    assert [row.image for row in listing.rows] == [record["Path"] for record in taken]
    for row, record in zip(listing.rows[:2000], taken, strict=False):
        labels = implied(record)
        assert row.labels == tuple(labels[name] for name in listing.vocabulary)
    assert Counter(one.code for one in listing.left_out) == {"view-lateral": 223_414 - len(taken)}
    assert {row.view for row in listing.rows} == {"PA", "AP"}


@pytest.mark.slow
def test_padchest(tmp_path: Path) -> None:
    table = list(records(PADCHEST_TABLE))
    lists = [ast.literal_eval(record["Labels"]) if record["Labels"].startswith("[") else None for record in table]
    assert (len(table), lists.count(None)) == (160_861, 103)
    listing = read_listing(link(tmp_path, PADCHEST_TABLE), None, ALL)
    assert listing.layout == "padchest"
    assert len(listing.rows) + len(listing.left_out) == 160_861
    excluded = sum("exclude" in {word.strip() for word in words or ()} for words in lists)
    assert Counter(one.code for one in listing.left_out) == {"excluded-by-source": excluded}
    assert excluded == 1_312
    kept = [
        (record, {word.strip() for word in words or ()})
        for record, words in zip(table, lists, strict=True)
        if "exclude" not in {word.strip() for word in words or ()}
    ]
    assert patients(listing) == {record["PatientID"] for record, _ in kept}
    assert max(int(row.patient) for row in listing.rows if row.patient.isdigit()) > 2**63
    for name in listing.vocabulary[1:]:
        words = {word for word, ours in PADCHEST.table.items() if ours == name}
        words |= {pair for pair, parts in PAIRS.items() if words & set(parts)}
        assert counts(listing, name)[1] == sum(bool(said & words) for _, said in kept), name
    silent = sum(not said - PADCHEST.remarks for _, said in kept)
    assert counts(listing, "Effusion")[None] == silent
    assert counts(listing, "No Finding")[-1] + counts(listing, "No Finding")[1] == sum("normal" in s for _, s in kept)
    strangers = Counter(word for _, said in kept for word in said - PADCHEST.remarks - {"", *PADCHEST.table, *PAIRS})
    assert listing.unmapped == dict(strangers)
    assert (strangers["pericardial effusion"], strangers["breast mass"], strangers["pseudonodule"] > 1000) == (
        77,
        1,
        True,
    )
    require_whole_patients(listing)


@pytest.mark.parametrize(
    "policy", ["majority", pytest.param("any", marks=pytest.mark.slow), pytest.param("all", marks=pytest.mark.slow)]
)
def test_vindr_under_every_policy(tmp_path: Path, policy: str) -> None:
    table = list(records(VINDR_TABLE))
    readers: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for record in table:
        readers[record["image_id"]][record["class_name"]].add(record["rad_id"])
    listing = read_listing(link(tmp_path, VINDR_TABLE), ("all",), Choices(readers=policy))
    assert (len(table), len(listing.rows), len(readers)) == (67_914, 15_000, 15_000)
    assert {len(set.union(*said.values())) for said in readers.values()} == {3}
    needed = {"any": 1, "majority": 2, "all": 3}[policy]
    for word, name in VINDR_KAGGLE.table.items():
        least = 3 if (policy, word) == ("any", "No finding") else needed
        present = sum(len(said.get(word, ())) >= least for said in readers.values())
        assert counts(listing, name) == Counter({1: present, 0: 15_000 - present}), name
    nothing = listing.vocabulary.index("No Finding")
    assert not any(row.labels[nothing] and sum(filter(None, row.labels)) > 1 for row in listing.rows)
    assert listing.policies["readers"] == policy


def test_rsna(tmp_path: Path) -> None:
    table = list(records(RSNA_TABLE))
    present = {record["patientId"] for record in table if record["Target"] == "1"}
    films = {record["patientId"] for record in table}
    listing = read_listing(link(tmp_path, RSNA_TABLE))
    assert len(table) > len(films) == len(listing.rows) == 26_684
    assert counts(listing, "Pneumonia") == {1: len(present), 0: len(films) - len(present)}
    assert len(present) == 6_012
    assert counts(listing, "No Finding") == {0: len(present), None: len(films) - len(present)}


def test_siim(tmp_path: Path) -> None:
    table = list(records(SIIM_TABLE))
    masks = {record["ImageId"] for record in table if record[" EncodedPixels"].strip() != "-1"}
    films = {record["ImageId"] for record in table}
    listing = read_listing(link(tmp_path, SIIM_TABLE))
    assert counts(listing, "Pneumothorax") == {1: len(masks), 0: len(films) - len(masks)}
    assert len(films) == len(listing.rows) == 12_047


def test_openi(tmp_path: Path) -> None:
    listing = read_listing(link(tmp_path, "NLMCXR_reports.tgz", "nlmcxr_dicom_metadata.csv.gz"), None, ALL)
    assert listing.layout == "open-i"
    assert len(listing.rows) == 7_470
    named = {record["imageid"]: record["View Position"] for record in records("nlmcxr_dicom_metadata.csv.gz")}
    views = Counter(row.view for row in listing.rows)
    assert views["PA"] == sum(named.get(Path(row.image).stem) == "PA" for row in listing.rows) > 3_500
    assert views["LATERAL"] >= 717 + 119 + 29 + 2
    assert all(row.study for row in listing.rows)
    require_whole_patients(listing)


def test_every_table_is_read_as_csv_reads_it() -> None:
    path = wheel_file(VINDR_TABLE)
    table = parse_table(path, path.read_bytes(), ("image_id",), exact=True)
    assert [cells for _, cells in table.records] == list(records(VINDR_TABLE))
