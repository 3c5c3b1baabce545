"""Trees of the public sets as people have them: real label lines of the wheel, generated pixels."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import tarfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from published_labels import records, wheel_file
from tiny_dicom import film
from tiny_source import NIH_HEADER, gradient

from xrarchive.findings import NIH_FINDINGS
from xrarchive.radiographs import RadiographSet, ingest, open_set, survey

NIH, CHEXPERT = "Data_Entry_2017_v2020.csv.gz", "chexpert_train.csv.gz"
PADCHEST = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz"
VINDR, RSNA = "vinbigdata-train.csv.gz", "kaggle_stage_2_train_labels.csv.zip"
SIIM, OPENI = "siim-pneumothorax-train-rle.csv.gz", "NLMCXR_reports.tgz"

Records = list[dict[str, str]]


def first(name: str, count: int) -> Records:
    return list(itertools.islice(records(name), count))


def write_csv(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """A table as it was, packed if its name says so."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.getvalue().encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def png(index: int, *, deep: bool = False) -> bytes:
    """A PNG no other index has, of 16 bits if `deep`."""
    stream = io.BytesIO()
    image = gradient(index)
    if deep:
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    image.save(stream, "PNG")
    return stream.getvalue()


def dicom(index: int, **elements: str) -> bytes:
    return film(np.asarray(gradient(index)).astype(np.uint16) * 16, **elements)


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def write_tar(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def write_zip(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)


def write_nih(root: Path, *, packed: bool, first_edition: bool = False) -> Records:
    """ChestX-ray14: folders, or tar.gz parts; the table of 2017 has its trailing comma and its ages."""
    rows = first(NIH, 36)
    root.mkdir()
    lines = [NIH_HEADER]
    for row in rows:
        # csv gives the cells beyond the header, whose commas are not quoted, as a list.
        cells = list(itertools.chain.from_iterable([v] if isinstance(v, str) else v for v in row.values()))
        age = f"{cells[4]:0>3}Y" if first_edition else cells[4]
        lines.append(",".join([*cells[:4], age, *cells[5:]]))
    end = "," if first_edition else ""
    name = "Data_Entry_2017.csv" if first_edition else "Data_Entry_2017_v2020.csv"
    (root / name).write_text("".join(f"{line}{end}\n" for line in lines))
    images = [(f"images/{row['Image Index']}", png(index)) for index, row in enumerate(rows)]
    if packed:
        write_tar(root / "images_001.tar.gz", images[:20])
        write_tar(root / "images_002.tar.gz", images[20:])
    else:
        for index, (image, data) in enumerate(images):
            put(root / f"images_{index % 2 + 1:03}" / image, data)
    return rows


def write_chexpert(root: Path, *, batches: bool) -> Records:
    """CheXpert: small, or full in its batch folders, which do not match the paths of its table."""
    rows = [row for row in first(CHEXPERT, 60) if row["Frontal/Lateral"] == "Frontal"][:20]
    rows += [row for row in first(CHEXPERT, 60) if row["Frontal/Lateral"] == "Lateral"][:5]
    folder = "CheXpert-v1.0 batch 2 (train 1)" if batches else "train"
    write_csv(root / "train.csv", rows)
    for index, row in enumerate(rows):
        put(root / folder / row["Path"].partition("/train/")[2], png(index))
    return rows


def write_mimic(root: Path) -> tuple[Records, Records]:
    """MIMIC-CXR-JPG, whose tables nobody may give on: CheXpert's label cells under made-up ids, two films a study."""
    given = first(CHEXPERT, 12)
    studies = [{"subject_id": f"1{i // 2:07}", "study_id": f"5{i:07}"} for i in range(12)]
    findings = list(given[0])[5:]
    labels = [{**study, **{name: row[name] for name in findings}} for study, row in zip(studies, given, strict=True)]
    films = [
        {"dicom_id": f"{i:08x}-{view}", **study, "ViewPosition": view}
        for i, study in enumerate(studies)
        for view in ("PA", "LATERAL")
    ]
    films.append({"dicom_id": "ffff", "subject_id": "19999999", "study_id": "59999999", "ViewPosition": ""})
    splits = ["train"] * 8 + ["validate"] * 2 + ["test"] * 2
    of_study = {study["study_id"]: split for study, split in zip(studies, splits, strict=True)}
    keys = ("dicom_id", "study_id", "subject_id")
    write_csv(root / "mimic-cxr-2.0.0-chexpert.csv.gz", labels)
    write_csv(root / "mimic-cxr-2.0.0-metadata.csv.gz", films)
    split_rows = [{**{key: row[key] for key in keys}, "split": of_study.get(row["study_id"], "train")} for row in films]
    write_csv(root / "mimic-cxr-2.0.0-split.csv.gz", split_rows)
    for index, row in enumerate(films):
        subject, study, name = row["subject_id"], row["study_id"], row["dicom_id"]
        put(root / f"files/p{subject[:2]}/p{subject}/s{study}/{name}.jpg", png(index))
    return films, labels


def write_vindr(root: Path, *, kaggle: bool) -> Records:
    """VinDr-CXR: Kaggle's boxes beside PNG copies, or PhysioNet's columns made of them beside DICOM."""
    rows = first(VINDR, 400)
    ids = list(dict.fromkeys(row["image_id"] for row in rows))
    whole = [row for row in records(VINDR) if row["image_id"] in set(ids[:16])]
    films = list(dict.fromkeys(row["image_id"] for row in whole))
    if kaggle:
        write_csv(root / "train.csv", whole)
    else:
        words = ["Atelectasis", "Cardiomegaly", "Pleural effusion", "Pneumonia", "Other lesion", "No finding"]
        pairs = list(dict.fromkeys((row["image_id"], row["rad_id"]) for row in whole))
        said = {(row["image_id"], row["rad_id"], row["class_name"]) for row in whole}
        table = [
            {"image_id": i, "rad_id": r, **{word: str(int((i, r, word) in said)) for word in words}} for i, r in pairs
        ]
        write_csv(root / "annotations" / "image_labels_train.csv", table)
        write_csv(root / "annotations" / "annotations_train.csv", whole)
    for index, name in enumerate(films):
        put(root / "train" / f"{name}.{'png' if kaggle else 'dicom'}", png(index) if kaggle else dicom(index))
    return whole


def write_padchest(root: Path) -> Records:
    """PadChest: half of its 16-bit PNGs in a folder by `ImageDir`, half in a zip beside."""
    rows = first(PADCHEST, 60)
    write_csv(root / PADCHEST, rows)
    write_zip(root / "0.zip", [(row["ImageID"], png(i, deep=True)) for i, row in enumerate(rows) if i % 2])
    for index, row in enumerate(rows):
        if index % 2 == 0:
            put(root / row["ImageDir"] / row["ImageID"], png(index, deep=True))
    return rows


def write_rsna(root: Path) -> Records:
    rows = first(RSNA, 40)
    write_csv(root / "stage_2_train_labels.csv", rows)
    names = list(dict.fromkeys(row["patientId"] for row in rows))
    kinds = {row["patientId"]: "Lung Opacity" if row["Target"] == "1" else "" for row in rows}
    normal = [{"patientId": n, "class": kinds[n] or ("Normal" if i % 2 else "No Lung Opacity / Not Normal")}
              for i, n in enumerate(names)]  # fmt: skip
    write_csv(root / "stage_2_detailed_class_info.csv", normal)
    for index, name in enumerate(names):
        view = "LL" if index == 3 else "PA"
        put(root / "stage_2_train_images" / f"{name}.dcm", dicom(index, ViewPosition=view, PatientAge="155Y"))
    return rows


def write_siim(root: Path) -> Records:
    rows = first(SIIM, 30)
    write_csv(root / "train-rle.csv", rows)
    for index, name in enumerate(dict.fromkeys(row["ImageId"] for row in rows)):
        put(root / "dicom-images-train" / f"1.2.{index}" / "1.3" / f"{name}.dcm", dicom(index, ViewPosition="PA"))
    return rows


def write_openi(root: Path) -> dict[str, bytes]:
    """Open-i: the first reports as a tgz, their images as PNGs."""
    root.mkdir()
    reports: dict[str, bytes] = {}
    with tarfile.open(wheel_file(OPENI)) as archive:
        for info in itertools.islice(archive, 15):
            if info.isreg():
                stream = archive.extractfile(info)
                assert stream
                reports[info.name] = stream.read()
    write_tar(root / "NLMCXR_reports.tgz", reports.items())
    count = itertools.count()
    for data in reports.values():
        for part in data.decode().split('<parentImage id="')[1:]:
            put(root / "images" / f"{part.partition(chr(34))[0]}.png", png(next(count)))
    return reports


def write_chestmnist(root: Path, px: int) -> np.ndarray:
    """ChestMNIST: NIH's first labels as columns; int64 [48, 14] of all splits in order."""
    root.mkdir()
    rows = first(NIH, 48)
    labels = np.array([[name in row["Finding Labels"].split("|") for name in NIH_FINDINGS] for row in rows], np.int64)
    images = np.stack([np.asarray(gradient(index, px, px)) for index in range(48)])
    parts = {"train": slice(0, 30), "val": slice(30, 38), "test": slice(38, 48)}
    arrays = {f"{split}_images": images[part] for split, part in parts.items()}
    arrays |= {f"{split}_labels": labels[part] for split, part in parts.items()}
    np.savez_compressed(root / f"chestmnist{'' if px == 28 else f'_{px}'}.npz", **arrays)
    return labels


def make(source: Path, **how: object) -> RadiographSet:
    """The set of a source, after a dry run that promised the same."""
    said = {name: value for name, value in how.items() if name in ("findings", "choices")}
    promised = survey(source, **said)
    before = sorted(source.rglob("*"))
    report = ingest(source, source.parent / "set", size_px=16, **how)
    assert sorted(source.rglob("*")) == before
    assert (report.layout, report.images, report.splits) == (promised.layout, promised.images, promised.splits)
    assert report.findings == {name: counts["present"] for name, counts in promised.findings.items()}
    assert promised.missing == 0
    return open_set(source.parent / "set")


def labels(found: RadiographSet, name: str) -> dict[str, float]:
    """Label by the last part of an image's path, without suffix."""
    column = found.labels[:, found.vocabulary.index(name)]
    return {Path(image).stem: value for image, value in zip(found.table["image"].to_pylist(), column, strict=True)}


def pixels_of(found: RadiographSet, image: str) -> np.ndarray:
    return found.pixels[[Path(one).stem for one in found.table["image"].to_pylist()].index(image)]
