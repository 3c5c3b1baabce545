from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_archive import TinyArchive

from xrarchive.errors import GateError
from xrarchive.hub import RepoContent, plan_publication
from xrarchive.hub.content import Upload, in_memory
from xrarchive.hub.scanning import require_clean

FOLDER = Path("/srv/ward 7/films")
IDS = {"00000013", "00000013_005.png", "p10000032", "10000032", "12", "Meier-1950"}


def scan(text: str, name: str = "README.md") -> None:
    content = RepoContent("ward/xrays", "dataset", (in_memory(name, text.encode()),), ())
    require_clean([content], folders={FOLDER}, ids=IDS)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("one\ntwo\nfrom /srv/ward 7/films/x.png here", "README.md, line 3: a path of this machine"),
        ("see /home/jane/films", "a path of this machine (/home/jane/films)"),
        ("see (/Users/jane/films)", "a path of this machine"),
        (r"C:\Users\jane\films", "a path of this machine"),
        ("key hf_abcdefghijABCDEFGHIJ0123", "a token (hf_…)"),
        ('{"patient": "00000013"}', "the id of a patient or a film (00000013)"),
        ("images/00000013_005.png", "the id of a patient or a film (00000013_005.png)"),
        ("files/p10/p10000032/s50414267", "the id of a patient or a film"),
        ("as Meier-1950 shows", "the id of a patient or a film (Meier-1950)"),
    ],
)
def test_what_should_stay_is_found_by_file_and_line(text: str, what: str) -> None:
    with pytest.raises(GateError) as caught:
        scan(text)
    assert what in caught.value.message
    assert caught.value.code == 11


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org/home/page and https://huggingface.co/Users/x",
        '{"bytes": 10000032, "n": 12}',
        "10000032 images",
        "a hf_name is a name",
        "data/train-00000.parquet of srv/ward 7/filmstrip",
    ],
)
def test_what_only_looks_alike_goes_up(text: str) -> None:
    scan(text, "manifest.json")


def test_a_token_is_not_repeated() -> None:
    with pytest.raises(GateError) as caught:
        scan("hf_abcdefghijABCDEFGHIJ0123")
    assert "abcdefghij" not in json.dumps(caught.value.as_dict())


def test_weights_are_searched_too(tmp_path: Path) -> None:
    header = json.dumps({"__metadata__": {"origin": '{"from": "/home/jane/runs/7"}'}}).encode()
    path = tmp_path / "generator.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 16)
    content = RepoContent("ward/xrays", "model", (Upload("generator.safetensors", path, 0, ""),), ())
    with pytest.raises(GateError, match=r"model generator\.safetensors, line 1: a path of this machine"):
        require_clean([content], folders=())


def test_the_plan_of_an_archive_is_searched(archive: TinyArchive) -> None:
    archive.write_card(f"Of {archive.manifest_sha256}, made in {archive.folder}.")
    with pytest.raises(GateError, match=r"dataset README\.md, line \d+: a path of this machine"):
        plan_publication(archive.folder, "tester/xrays")
    archive.write_card(f"Of {archive.manifest_sha256}, like film 00000013_005.png.")
    plan_publication(archive.folder, "tester/xrays")
    with pytest.raises(GateError, match="the id of a patient or a film"):
        plan_publication(archive.folder, "tester/xrays", ids=IDS)
