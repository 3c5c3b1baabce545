"""Nothing that names a patient of a hospital gets into a set; what is written on a film is flagged."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageDraw, ImageFont
from tiny_dicom import film
from tiny_source import MakeSource, gradient, many_rows, write_nih

from xrarchive.errors import PlanChangedError, SettingsError
from xrarchive.radiographs import ingest, open_set
from xrarchive.radiographs.lettering import has_lettering
from xrarchive.radiographs.privacy import PatientKey, bucket_age, load_key

PLAIN = ("image", "labels", "patient_id")
DATA = Path("../shared/data/nih256/images")


def write_hospital(folder: Path, count: int = 6) -> Path:
    """A folder of DICOM as a hospital exports it: names and record numbers in paths and headers."""
    for index in range(count):
        stored = np.asarray(gradient(index)).astype(np.uint16) * 16
        place = folder / f"DOE_JANE_{index // 2}"
        place.mkdir(parents=True, exist_ok=True)
        facts = {"PatientID": f"MRN-4711-{index // 2}", "PatientAge": f"{50 + 9 * index:03}Y", "PatientSex": "F"}
        data = film(stored, ViewPosition="PA", StudyInstanceUID=f"1.2.840.99.{index}", **facts)
        (place / f"IM{index}.dcm").write_bytes(data)
    return folder


SECRETS = (b"DOE", b"JANE", b"MRN", b"4711", b"1.2.840.99", b"19700102", b"Elsewhere")


def everything(folder: Path) -> bytes:
    """All bytes of all files of a set but the pixels, tables unpacked, and all names."""
    parts = [str(path.relative_to(folder)).encode() for path in folder.rglob("*")]
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix != ".npy":
            parts.append(path.read_bytes())
        if path.suffix == ".parquet":
            parts.append(json.dumps(pq.read_table(path).to_pylist()).encode())
    return b"\n".join(parts)


def test_no_patient_name_number_or_path_is_anywhere_in_a_set_of_dicom(tmp_path: Path) -> None:
    source = write_hospital(tmp_path / "export")
    (source / "DOE_JANE_0" / "broken.dcm").write_bytes(film(np.zeros((64, 64), np.uint16), Rows=65535, Columns=65535))
    report = ingest(source, tmp_path / "set", size_px=16, max_rejects=0.5)
    assert report.images == 6
    text = everything(tmp_path / "set")
    assert b"too-large" in text
    assert [secret for secret in SECRETS if secret in text] == []
    found = open_set(tmp_path / "set")
    assert found.patients[0] == found.patients[1] != found.patients[2]
    assert all(patient.startswith("patient-") for patient in found.patients.tolist())
    assert found.ages.tolist() == [50, 55, 65, 75, 85, 90]
    assert set(found.views.tolist()) == {"PA"}
    key = tmp_path / "patients.key"
    assert oct(key.stat().st_mode)[-3:] == "600"
    assert key.read_text().strip() not in text.decode(errors="replace")
    assert load_key(key).fingerprint == found.meta["settings"]["patient_key"]


def test_the_publisher_can_tell_which_film_is_which(tmp_path: Path) -> None:
    source = write_hospital(tmp_path / "export")
    ingest(source, tmp_path / "set", size_px=16)
    names = tmp_path / "set.films.csv"
    assert oct(names.stat().st_mode)[-3:] == "600"
    with names.open(newline="") as stream:
        told = {row["film"]: row["source"] for row in csv.DictReader(stream)}
    images = open_set(tmp_path / "set").table["image"].to_pylist()
    assert sorted(told) == sorted(images)
    assert sorted(told.values()) == sorted(path.relative_to(source).as_posix() for path in source.rglob("*.dcm"))


def test_one_key_one_set_and_another_key_another(tmp_path: Path) -> None:
    source = write_hospital(tmp_path / "export")
    first = ingest(source, tmp_path / "one", size_px=16)
    again = ingest(source, tmp_path / "two", size_px=16)
    other = ingest(source, tmp_path / "three", size_px=16, patient_key=tmp_path / "other.key")
    assert first.sha256 == again.sha256 != other.sha256
    assert ingest(source, tmp_path / "one", size_px=16) == first
    one, three = open_set(tmp_path / "one"), open_set(tmp_path / "three")
    assert not set(one.patients.tolist()) & set(three.patients.tolist())
    assert one.splits.tolist() == three.splits.tolist()
    with pytest.raises(PlanChangedError, match="was made with patient_key"):
        ingest(source, tmp_path / "one", size_px=16, patient_key=tmp_path / "other.key")


def test_a_table_keeps_its_ids_unless_a_key_is_given(make_source: MakeSource, tmp_path: Path) -> None:
    source = make_source(many_rows(4), PLAIN)
    ingest(source, tmp_path / "plain", size_px=16)
    assert open_set(tmp_path / "plain").patients.tolist() == ["p0", "p0", "p1", "p1"]
    assert not (tmp_path / "patients.key").exists()
    ingest(source, tmp_path / "hidden", size_px=16, patient_key=tmp_path / "k")
    hidden = open_set(tmp_path / "hidden")
    assert "p0" not in hidden.patients.tolist()
    np.testing.assert_array_equal(hidden.pixels, open_set(tmp_path / "plain").pixels)
    with pytest.raises(PlanChangedError, match="was made with patient_key none"):
        ingest(source, tmp_path / "plain", size_px=16, patient_key=tmp_path / "k")


def test_public_ids_stay_comparable(tmp_path: Path) -> None:
    ingest(write_nih(tmp_path / "nih"), tmp_path / "set", size_px=16)
    assert open_set(tmp_path / "set").patients.tolist() == ["1", "1", "2", "3", "3", "4"]


def test_a_key_is_secret_and_checked(tmp_path: Path) -> None:
    key = load_key(tmp_path / "deep" / "k")
    assert load_key(tmp_path / "deep" / "k") == key
    assert key.secret.hex() not in repr(key)
    assert key.hide("patient", "1") == key.hide("patient", "1") != key.hide("study", "1")
    assert key.hide("patient", "") == ""
    assert PatientKey(bytes(32)).hide("patient", "1") != key.hide("patient", "1")
    (tmp_path / "deep" / "k").chmod(0o644)
    with pytest.raises(SettingsError, match="Others may read the patient key"):
        load_key(tmp_path / "deep" / "k")
    for text in ("", "abc", "z" * 64, "\udcff"):
        path = tmp_path / "bad"
        path.write_text(text, errors="surrogateescape")
        path.chmod(0o600)
        with pytest.raises(SettingsError, match="is no patient key"):
            load_key(path)


def test_ages_are_in_steps_of_five_and_all_above_ninety_alike() -> None:
    ages = {None: None, 0: 0, 4: 0, 5: 5, 58: 55, 89: 85, 90: 90, 94: 90, 95: 90, 110: 90}
    assert {age: bucket_age(age) for age in ages} == ages


def test_burned_in_names_are_refused_unless_kept(tmp_path: Path) -> None:
    source = write_hospital(tmp_path / "export", 5)
    named = film(np.asarray(gradient(9)).astype(np.uint16), BurnedInAnnotation="YES", ViewPosition="PA")
    (source / "DOE_JANE_0" / "named.dcm").write_bytes(named)
    report = ingest(source, tmp_path / "set", size_px=16, max_rejects=0.5)
    assert [one["code"] for one in report.rejected] == ["burned-in"]
    assert ingest(source, tmp_path / "all", size_px=16, burned_in="keep").images == 6


def lettered(film: Image.Image, words: str, *, size: int, at: tuple[int, int]) -> Image.Image:
    copy = film.copy()
    ImageDraw.Draw(copy).text(at, words, fill=255, font=ImageFont.load_default(size))
    return copy


def smooth(seed: int, side: int = 512) -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 200, (12, 12), np.uint8))
    return coarse.resize((side, side), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("side", [512, 3000])
def test_lines_of_letters_are_flagged_and_markers_are_not(side: int) -> None:
    base, size = smooth(0, side), side // 28
    assert not has_lettering(base)
    assert not has_lettering(lettered(base, "R", size=size, at=(8, 8)))
    assert has_lettering(lettered(base, "DOE JANE 1970", size=size, at=(8, 8)))
    assert has_lettering(lettered(base, "MRN 4711", size=size, at=(side // 2, side - 2 * size)))
    assert not has_lettering(lettered(base, "DOE JANE 1970", size=size, at=(8, side // 2)))


def test_lettering_is_told_in_the_report(make_source: MakeSource, tmp_path: Path) -> None:
    source = make_source(many_rows(3), PLAIN)
    lettered(smooth(1), "SMITH JOHN", size=24, at=(6, 6)).save(source / "images" / "0001.png")
    report = ingest(source, tmp_path / "set", size_px=16)
    assert report.lettered == ["images/0001.png"]
    assert ingest(source, tmp_path / "set", size_px=16) == report


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="needs the radiographs in ../shared/data")
def test_lettering_over_real_films() -> None:
    """At four times their size, as hospitals export: none of these is flagged, 17 of 20 are once they bear a name."""
    films = [Image.open(path).convert("L").resize((1024, 1024)) for path in sorted(DATA.iterdir())[:60]]
    assert sum(has_lettering(film) for film in films) <= 1
    rng = np.random.default_rng(0)
    sizes = rng.integers(20, 40, len(films)).tolist()
    named = [lettered(film, "DOE JANE 4711", size=size, at=(6, 6)) for film, size in zip(films, sizes, strict=True)]
    assert sum(has_lettering(film) for film in named) >= 0.75 * len(films)
