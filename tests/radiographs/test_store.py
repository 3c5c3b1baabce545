"""A stopped ingest goes on where it was; a decoder that hangs, crashes or fills memory costs one film."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_dicom import film
from tiny_source import MakeSource, gradient, many_rows

from xrarchive.pixels import fit_square
from xrarchive.radiographs import ingest, open_set
from xrarchive.radiographs import store as store_module
from xrarchive.radiographs import workers as workers_module
from xrarchive.radiographs.decode import Reject, SourceFile
from xrarchive.radiographs.layouts import Row
from xrarchive.radiographs.places import Place
from xrarchive.radiographs.store import store
from xrarchive.radiographs.worker import How
from xrarchive.radiographs.workers import Workers, in_order
from xrarchive.records import Status, ignore_status

PLAIN = ("image", "labels", "patient_id")


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".lock"))
    return {path.name: path.read_bytes() for path in files}


class StopError(Exception):
    pass


@pytest.mark.parametrize("stop_at", [128, 256])
def test_what_the_journal_names_is_not_decoded_again(
    make_source: MakeSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    source = make_source(many_rows(300), PLAIN)
    (source / "images" / "0005.png").write_bytes(b"no image")
    ingest(source, tmp_path / "whole", size_px=16)

    def stop(status: Status) -> None:
        if status.done == stop_at:
            raise StopError

    monkeypatch.setattr(store_module, "COMMIT_S", 0)
    with pytest.raises(StopError):
        ingest(source, tmp_path / "set", size_px=16, on_status=stop)
    decoded: list[int] = []
    decode_all = workers_module.decode_all

    def count(places: list[Place], *rest: object) -> object:
        decoded.append(len(places))
        return decode_all(places, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(store_module, "decode_all", count)
    ingest(source, tmp_path / "set", size_px=16)
    assert decoded == [300 - stop_at]
    assert contents(tmp_path / "set") == contents(tmp_path / "whole")


def stop_midway(source: Path, out: Path) -> None:
    def stop(_: Status) -> None:
        raise StopError

    with pytest.raises(StopError):
        ingest(source, out, size_px=16, on_status=stop)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """No processes, which take a while to start."""
    monkeypatch.setattr(workers_module, "FEW", 1000)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("harm", ["torn line", "short pixels", "other plan", "no journal", "long pixels", "garbage"])
def test_a_damaged_stop_costs_time_and_nothing_else(make_source: MakeSource, tmp_path: Path, harm: str) -> None:
    source, out = make_source(many_rows(140), PLAIN), tmp_path / "set"
    ingest(source, tmp_path / "whole", size_px=16)
    stop_midway(source, out)
    journal, pixels = out / "partial" / "journal.jsonl", out / "partial" / "pixels-8.npy"
    if harm == "torn line":
        journal.write_bytes(journal.read_bytes() + b'{"stored": 3, "fat')
    elif harm == "short pixels":
        os.truncate(pixels, 100)
    elif harm == "other plan":
        journal.write_text('{"digest": "other"}\n')
    elif harm == "no journal":
        journal.unlink()
    elif harm == "long pixels":
        pixels.write_bytes(pixels.read_bytes() + bytes(1000))
    else:
        journal.write_bytes(b"\xff\xfe[]\n{}\n")
    ingest(source, out, size_px=16)
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.usefixtures("threads")
def test_a_reject_that_was_repaired_is_in_its_place(make_source: MakeSource, tmp_path: Path) -> None:
    source, out = make_source(many_rows(140), PLAIN), tmp_path / "set"
    ingest(source, tmp_path / "whole", size_px=16)
    path = source / "images" / "0003.png"
    data = path.read_bytes()
    path.write_bytes(b"no image")
    stop_midway(source, out)
    path.write_bytes(data)
    ingest(source, out, size_px=16)
    assert contents(out) == contents(tmp_path / "whole")


LOOP = """
import sys
from pathlib import Path
from xrarchive.radiographs import ingest, store
store.COMMIT_S = 0
ingest(Path(sys.argv[1]), Path(sys.argv[2]), size_px=16)
"""


@pytest.mark.slow
def test_killed_at_any_time_the_set_is_the_same(make_source: MakeSource, tmp_path: Path) -> None:
    source, out = make_source(many_rows(1500), PLAIN), tmp_path / "set"
    ingest(source, tmp_path / "whole", size_px=16)
    for kill_after_s in (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4):
        with subprocess.Popen([sys.executable, "-c", LOOP, source, out]) as process:
            time.sleep(kill_after_s)
            process.kill()
    ingest(source, out, size_px=16)
    assert contents(out) == contents(tmp_path / "whole")


def row(place: Place, image: str) -> Row:
    return Row(image, place, "p", "train", None, "", None, "", "")


def png(index: int) -> bytes:
    stream = io.BytesIO()
    gradient(index).save(stream, "PNG")
    return stream.getvalue()


def test_members_of_containers_are_stored_in_their_order(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for index in (0, 1):
            archive.writestr(f"{index}.png", png(index))
    with tarfile.open(tmp_path / "b.tar.gz", "w:gz") as archive_:
        for index in (3, 2):
            info = tarfile.TarInfo(f"{index}.png")
            info.size = len(png(index))
            archive_.addfile(info, io.BytesIO(png(index)))
    np.savez(tmp_path / "c.npz", images=np.stack([np.asarray(gradient(index)) for index in (4, 5)]))
    gradient(6).save(tmp_path / "6.png")
    places = [Place(tmp_path / "b.tar.gz", "2.png"), Place(tmp_path / "6.png"), Place(tmp_path / "c.npz", "images[1]")]
    places += [Place(tmp_path / "a.zip", "1.png"), Place(tmp_path / "b.tar.gz", "3.png")]
    places += [Place(tmp_path / "b.tar.gz", "9.png"), Place(tmp_path / "a.zip", "0.png")]
    rows = [row(place, str(index)) for index, place in enumerate(places)]
    fates = store(tmp_path / "set", rows, How(16, "crop"), {}, ignore_status)
    assert [fate.index for fate in fates] == [4, 0, 5, 1, 2, 6, 3]
    assert fates[2].file == Reject("not in b.tar.gz", "", "missing")
    pixels = np.load(tmp_path / "set" / "partial" / "pixels-16.npy")
    for plane, index in zip(pixels, (3, 2, 6, 5, 0, 1), strict=True):
        np.testing.assert_array_equal(plane, fit_square(gradient(index), 16, "crop"))


def test_films_from_processes_are_those_of_threads(tmp_path: Path) -> None:
    deep = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    sources = [png(0), b"nothing", np.asarray(gradient(1)), deep * 16, film(deep), tmp_path / "no.png"]
    how = How(32, "pad")
    with Workers(how, 1) as workers:
        for source in sources:
            here, there = workers_module._decode_here(source, how), workers.decode(source)  # type: ignore[arg-type]
            if isinstance(here, Reject):
                assert here == there
            else:
                assert not isinstance(there, Reject)
                assert here[0] == there[0]
                for one, other in zip(here[1], there[1], strict=True):
                    np.testing.assert_array_equal(one, other)


SITE = """
import os, time
from xrarchive.radiographs import decode
real = decode._open_grey
def hostile(data, keep):
    if data == b"hang":
        time.sleep(60)
    if data == b"crash":
        os.kill(os.getpid(), 11)
    if data == b"exit":
        os._exit(3)
    if data == b"memory":
        bytearray(8 << 30)
    if data == b"noise":
        os.write(1, b"printed by a decoder")
        return real(NOISE, keep)
    if data.startswith(b"lie "):
        import gc, io
        answers = next(one for one in gc.get_objects() if isinstance(one, io.BufferedWriter) and one.fileno() > 2)
        text = data[4:]
        answers.write(len(text).to_bytes(8, "little") + text)
        answers.flush()
    return real(data, keep)
decode._open_grey = hostile
"""


def test_a_film_that_hangs_or_crashes_its_decoder_is_rejected_and_the_next_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(SITE.replace("NOISE", repr(png(1))))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Workers(How(16, "crop"), 1) as workers:
        for bad, code in (("crash", "crashed"), ("exit", "crashed"), ("memory", "memory"), ("hang", "timeout")):
            with monkeypatch.context() as patched:
                if bad == "hang":  # the others are given all the time they need
                    patched.setattr(workers_module, "HANG_S", 1.0)
                answer = workers.decode(bad.encode())
            assert isinstance(answer, Reject)
            assert answer.code == code
            assert answer.sha256 or code == "memory"
            good = workers.decode(png(1))
            assert not isinstance(good, Reject)
            assert isinstance(good[0], SourceFile)
        noisy = workers.decode(b"noise")
        assert not isinstance(noisy, Reject)


@pytest.mark.slow
def test_a_decoder_that_a_film_has_taken_over_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(SITE.replace("NOISE", repr(png(1))))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Workers(How(16, "crop"), 1) as workers:
        lies = [b"[]", b"{", b'{"bytes": 1e300}', b'{"bytes": -1}', b'{"bytes": 99999999}', b"[" * 60_000]
        lies += [b'{"bytes": 0, "file": []}', b'{"bytes": 0, "file": [1, 2, 3, 4]}', b'{"bytes": 0, "file": 7}']
        for lie in lies:
            answer = workers.decode(b"lie " + lie)
            assert isinstance(answer, Reject)
            assert (answer.code, answer.reason) == ("crashed", "the decoder gave no answer")
        assert not isinstance(workers.decode(png(1)), Reject)


def test_nothing_runs_on_when_the_caller_stops() -> None:
    taken: list[int] = []

    def sources() -> object:
        for number in range(1000):
            taken.append(number)
            yield number

    results = in_order(lambda number: number * 2, sources())  # type: ignore[arg-type, var-annotated]
    assert [next(results) for _ in range(3)] == [0, 2, 4]
    results.close()
    assert len(taken) < 100


def test_a_dicom_film_reaches_the_set(make_source: MakeSource, tmp_path: Path) -> None:
    rows = [{**one, "image": one["image"].replace(".png", ".dcm")} for one in many_rows(3)]
    source = make_source(many_rows(3), PLAIN)
    deep = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    for index, one in enumerate(rows):
        (source / one["image"]).write_bytes(film(deep, negative=index == 1))
    (source / "labels.csv").write_text("image,labels\n" + "".join(f"{one['image']},\n" for one in rows))
    ingest(source, tmp_path / "set", size_px=16)
    found = open_set(tmp_path / "set").pixels
    expected = fit_square(Image.fromarray(np.rint(deep / 4095 * 255).astype(np.uint8)), 16, "crop")
    np.testing.assert_array_equal(found[0], expected)
    np.testing.assert_allclose(found[1].astype(int), 255 - expected.astype(int), atol=1)
