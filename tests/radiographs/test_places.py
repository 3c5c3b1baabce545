"""Members of containers: read where they are, in any order, and no harm from a hostile one."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xrarchive.errors import InputDataError
from xrarchive.radiographs import places as places_module
from xrarchive.radiographs.places import Place, Unread, container_kind, list_members, read_places

FILES = {"images/a.png": b"first", "images/b.png": b"second" * 1000, "c.png": b""}


def write_zip(path: Path, files: dict[str, bytes] = FILES) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("images")
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def add(archive: tarfile.TarFile, name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> None:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(data), kind, link
    archive.addfile(info, io.BytesIO(data))


def write_tar(path: Path, files: dict[str, bytes] = FILES) -> Path:
    mode = "w:" + path.name.partition(".tar.")[2].replace("tgz", "gz")
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            add(archive, name, data)
    return path


WRITERS: dict[str, Callable[[Path], Path]] = {
    "a.zip": write_zip, "a.tar": write_tar, "a.tar.gz": write_tar, "a.tar.xz": write_tar, "a.tar.bz2": write_tar,
}  # fmt: skip


def read(*wanted: Place) -> dict[int, object]:
    found = list(read_places(wanted))
    assert len(found) == len(wanted)
    return dict(found)


@pytest.mark.parametrize("name", WRITERS)
def test_members_are_listed_and_read_in_the_containers_order(tmp_path: Path, name: str) -> None:
    path = WRITERS[name](tmp_path / name)
    assert list_members(path) == tuple(FILES)
    wanted = [Place(path, member) for member in reversed(FILES)]
    found = list(read_places(wanted))
    assert found == [(2 - index, data) for index, data in enumerate(FILES.values())]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", WRITERS)
def test_what_a_container_does_not_hold_is_said(tmp_path: Path, name: str) -> None:
    path = WRITERS[name](tmp_path / name)
    plain = tmp_path / "plain.png"
    found = read(Place(path, "c.png"), Place(plain), Place(path, "d.png"), Place(tmp_path / f"no-{name}", "c.png"))
    assert found[0] == b""
    assert found[1] == plain
    assert found[2] == Unread("missing", f"not in {name}")
    assert found[3] == Unread("missing", f"no-{name} not found")


def test_one_member_in_two_rows_is_given_to_both(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar.gz")
    assert read(Place(path, "c.png"), Place(path, "c.png")) == {0: b"", 1: b""}


@pytest.mark.parametrize("name", WRITERS)
def test_a_half_downloaded_container_is_damaged_not_empty(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).bytes(300_000)
    path = tmp_path / name
    (write_zip if name.endswith("zip") else write_tar)(path, {"a": noise, "b": noise[::-1], "c": noise[::2]})
    data = path.read_bytes()
    for share in (0, 0.01, 0.3, 0.5, 0.9):
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(InputDataError, match="is damaged"):
            list_members(path)
        found = read(Place(path, "a"), Place(path, "c"))
        assert isinstance(found[1], Unread)
        assert found[1].code == "container"


@pytest.mark.parametrize("cut", [512, 1024, 1536])
def test_a_tar_cut_between_members_is_damaged(tmp_path: Path, cut: int) -> None:
    path = write_tar(tmp_path / "a.tar", {"a": b"1" * 512, "b": b"2" * 512})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputDataError, match=r"it ends early|unexpected end of data"):
        list_members(path)


HOSTILE_NAMES = ["../up.png", "/etc/passwd", "a/../../b.png", "C:/x.png", "..\\x.png", "x" * 256, "é" * 128]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("kind", ["a.zip", "a.tar"])
def test_a_name_that_leads_outside_refuses_the_container(tmp_path: Path, kind: str, name: str) -> None:
    write = write_zip if kind == "a.zip" else write_tar
    path = write(tmp_path / kind, {"ok.png": b"1", name: b"2"})
    with pytest.raises(InputDataError, match=r"is not read: .*(names a place outside|longer than 255 bytes)"):
        list_members(path)
    assert isinstance(read(Place(path, name))[0], Unread)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ["a.zip", "a.tar"])
def test_a_name_that_stands_there_twice_refuses_the_container(tmp_path: Path, kind: str) -> None:
    if kind == "a.zip":
        with zipfile.ZipFile(tmp_path / kind, "w") as archive:
            archive.writestr("a.png", b"1")
            archive.writestr("./a.png", b"2")
    else:
        write_tar(tmp_path / kind, {"a.png": b"1", "./a.png": b"2"})
    with pytest.raises(InputDataError, match=r"it holds 'a\.png' twice"):
        list_members(tmp_path / kind)


def test_links_and_devices_are_no_members(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        add(archive, "link.png", kind=tarfile.SYMTYPE, link=str(tmp_path / "secret"))
        add(archive, "hard.png", kind=tarfile.LNKTYPE, link="link.png")
        add(archive, "null.png", kind=tarfile.CHRTYPE)
        add(archive, "pipe.png", kind=tarfile.FIFOTYPE)
        add(archive, "a.png", b"1")
    info = zipfile.ZipInfo("link.png")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, str(tmp_path / "secret"))
        archive.writestr("a.png", b"1")
    for name in ("a.tar", "a.zip"):
        assert list_members(tmp_path / name) == ("a.png",)
        assert read(Place(tmp_path / name, "link.png")) == {0: Unread("missing", f"not in {name}")}


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.tar.xz"])
def test_bombs_are_not_unpacked(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places_module, "FREE_BYTES", 1 << 16)
    path = WRITERS[name.replace("xz", "gz")](tmp_path / name)
    (write_zip if name == "a.zip" else write_tar)(path, {"a.png": bytes(20_000_000)})
    with pytest.raises(InputDataError, match="are a bomb"):
        list_members(path)
    found = read(Place(path, "a.png"))[0]
    assert isinstance(found, Unread)
    assert found.code == "container"


def test_a_tar_header_that_would_fill_memory_is_refused(tmp_path: Path) -> None:
    for kind in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
        info = tarfile.TarInfo("x")
        info.type, info.size = kind, 1 << 40
        (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
        with pytest.raises(InputDataError, match=r"are a bomb|longer than any name"):
            list_members(tmp_path / "a.tar")


def test_an_encrypted_zip_says_so(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.png": b"1"})
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(InputDataError, match="is encrypted"):
        list_members(path)


def test_members_beyond_the_limit_refuse_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places_module, "MAX_MEMBERS", 2)
    for name, write in WRITERS.items():
        with pytest.raises(InputDataError, match="more than 2 members"):
            list_members(write(tmp_path / name))


def test_a_member_too_large_to_read_is_its_own_affair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places_module, "MAX_SOURCE_BYTES", 100)
    path = write_tar(tmp_path / "a.tar")
    found = read(*(Place(path, name) for name in FILES))
    assert found == {0: b"first", 1: Unread("too-large", "larger than 100 bytes"), 2: b""}


def test_images_of_an_npz_are_read_one_at_a_time(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8), np.uint8)
    colour, deep = images[:, :, :, None].repeat(3, 3), images.astype(np.uint16) * 200
    path = tmp_path / "a.npz"
    for save in (np.savez, np.savez_compressed):
        save(path, train_images=images, rgb=colour, deep=deep, single=images[..., None], train_labels=images[:, 0])  # type: ignore[operator]
        names = list_members(path)
        assert len(names) == 20
        assert names[:2] == ("train_images[0]", "train_images[1]")
        found = read(*(Place(path, f"{name}[{row}]") for row in (4, 0) for name in ("rgb", "train_images", "single")))
        np.testing.assert_array_equal(found[0], colour[4])  # type: ignore[arg-type]
        np.testing.assert_array_equal(found[1], images[4])  # type: ignore[arg-type]
        np.testing.assert_array_equal(found[5], images[0])  # type: ignore[arg-type]
        assert read(Place(path, "train_images[5]"), Place(path, "x")) == {
            0: Unread("missing", "not in a.npz"), 1: Unread("missing", "not in a.npz"),
        }  # fmt: skip


def test_a_pickle_in_an_npz_is_never_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", train_images=np.array([{}], dtype=object), floats=np.zeros((2, 4, 4)))
    assert list_members(tmp_path / "a.npz") == ()
    found = read(Place(tmp_path / "a.npz", "train_images[0]"))[0]
    assert isinstance(found, Unread)
    assert "expected images of 8 or 16 bits, found object" in found.reason


def test_an_npz_header_may_claim_what_it_likes(tmp_path: Path) -> None:
    head = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 65536, 65536), }\n"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("train_images.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head)
    found = read(Place(tmp_path / "a.npz", "train_images[7]"))[0]
    assert isinstance(found, Unread)
    with pytest.raises(InputDataError, match="more than"):
        list_members(tmp_path / "a.npz")


def test_cells_of_a_parquet_file(tmp_path: Path) -> None:
    cells = [b"1", None, b"3"]
    table = pa.table({"image": [{"bytes": cell, "path": "p"} for cell in cells], "raw": cells, "label": [1, 2, 3]})
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, row_group_size=2)
    assert list_members(path) == tuple(f"{row}:{column}" for column in ("image", "raw") for row in range(3))
    found = read(Place(path, "2:image"), Place(path, "1:image"), Place(path, "0:raw"), Place(path, "0:label"))
    assert found == {
        0: b"3", 1: Unread("missing", "a blank cell"), 2: b"1", 3: Unread("missing", "not in a.parquet"),
    }  # fmt: skip


def test_kinds_are_told_by_name() -> None:
    names = {"a.zip": "zip", "A.TAR.GZ": "tar", "a.tgz": "tar", "a.npz": "npz", "a.parquet": "parquet", "a.png": None}
    assert {name: container_kind(Path(name)) for name in names} == names
    with pytest.raises(ValueError, match="no container"):
        list_members(Path("a.png"))
