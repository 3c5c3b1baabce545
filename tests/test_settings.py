import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pytest

from xrarchive import settings, tables
from xrarchive.errors import SettingsError
from xrarchive.plan import SearchSettings
from xrarchive.settings import (
    BuildSettings,
    IngestSettings,
    Project,
    gate_settings,
    layered,
    load_project,
    resolve,
    search_settings,
)
from xrarchive.tables import from_table
from xrarchive.validation.gates import GateSettings


@dataclasses.dataclass(frozen=True)
class Inner:
    n: int = 0


@dataclasses.dataclass(frozen=True)
class Outer:
    whole: int = 1
    real: float = 1.0
    text: str = "a"
    flag: bool = False
    path: Path | None = None
    choice: Literal["crop", "pad"] = "crop"
    names: tuple[str, ...] | None = None
    pair: tuple[int, float] = (0, 0.0)
    inner: Inner = Inner()
    free: Mapping[str, object] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if self.whole < 0:
            raise ValueError(f"whole must not be negative, got {self.whole}")


def test_every_type_a_setting_may_have():
    table = tomllib.loads(
        'whole = 2\nreal = 3\ntext = "b"\nflag = true\npath = "~"\nchoice = "pad"\nnames = ["x"]\npair = [1, 2.5]\n'
        "inner = {n = 4}\nfree = {anything = [1]}\n"
    )
    made = from_table(Outer, table, "t")
    assert made == Outer(2, 3.0, "b", True, Path.home(), "pad", ("x",), (1, 2.5), Inner(4), {"anything": [1]})
    assert type(made.real) is float


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("whole = true", "t: whole: expected a whole number, found True"),
        ("whole = 2.0", "expected a whole number, found 2.0"),
        ("whole = -1", "whole must not be negative"),
        ("real = nan", "a finite number"),
        ("real = true", "a finite number"),
        ('flag = "yes"', "true or false"),
        ("text = 1", "a string"),
        ('path = ""', "a path"),
        ('choice = "crep"', "Did you mean 'crop'?"),
        ("choice = 1", "not one of 'crop', 'pad'"),
        ('names = "x"', "expected a list"),
        ("names = [1]", "expected a string, found 1"),
        ("pair = [1]", "expected 2 values, found 1"),
        ("inner = 1", "t [inner]: expected a table"),
        ("inner = {m = 1}", "t [inner]: unknown key 'm'"),
        ("free = 1", "expected a table"),
        ("chioce = 1", "unknown key 'chioce'. Did you mean 'choice'?"),
        ("zzz = 1", "unknown key 'zzz'"),
    ],
)
def test_what_is_refused(line, words):
    with pytest.raises(SettingsError) as caught:
        from_table(Outer, tomllib.loads(line), "t")
    assert words in caught.value.message
    assert caught.value.fix
    assert caught.value.code == 2


def test_no_file_means_defaults(tmp_path):
    assert load_project(tmp_path) == Project()


def test_a_byte_order_mark_does_no_harm(tmp_path):
    (tmp_path / "xrarchive.toml").write_bytes(b"\xef\xbb\xbf[build]\r\nseed = 4\r\n")
    assert load_project(tmp_path).build.seed == 4


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[build]\nper_class = \n", "line 2"),
        (b"[build]\nseed = 1\nseed = 2\n", "line 3"),
        (b"\xff", "not valid TOML"),
        (b"[biuld]\n", "Did you mean 'build'?"),
        (b"[build]\nper_clas = 3\n", "xrarchive.toml [build]: unknown key 'per_clas'. Did you mean 'per_class'?"),
        (b"[build]\nper_class = 0\n", "at least 1"),
        (b"[build]\nper_class = 1\nrequests = 'r'\n", "leave out"),
        (b"[ingest]\nmax_rejects = 5\n", "between 0 and 1"),
        (b"build = 3\n", "[build]: expected a table"),
    ],
)
def test_broken_files_are_refused_with_the_place(tmp_path, content, words):
    (tmp_path / "xrarchive.toml").write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load_project(tmp_path)
    assert words in caught.value.message


def test_a_folder_in_the_file_s_place_is_refused(tmp_path):
    (tmp_path / "xrarchive.toml").mkdir()
    with pytest.raises(SettingsError, match="Cannot read"):
        load_project(tmp_path)


def test_flags_beat_the_file():
    section = IngestSettings(size_px=128, fit="pad")
    assert resolve(section, size_px=32, fit=None) == IngestSettings(size_px=32, fit="pad")
    with pytest.raises(SettingsError):
        resolve(section, max_rejects=2.0)


def test_layers_of_a_trainer_s_settings():
    assert layered(Outer, "outer", {"whole": 2, "text": "file"}, {"whole": 3}) == Outer(whole=3, text="file")
    with pytest.raises(SettingsError, match=r"xrarchive.toml \[outer\]: unknown key 'hole'"):
        layered(Outer, "outer", {"hole": 2}, {})
    with pytest.raises(SettingsError, match="options: unknown key 'hole'"):
        layered(Outer, "outer", {}, {"hole": 2})
    with pytest.raises(SettingsError, match="must not be negative"):
        layered(Outer, "outer", {"whole": -2}, {})


@pytest.mark.parametrize(
    ("section", "flags", "expected"),
    [
        ({}, {}, (20, None, None)),
        ({"per_class": 3}, {}, (3, None, None)),
        ({"per_class": 3, "findings": ("A",)}, {"requests": Path("r")}, (None, None, Path("r"))),
        ({"requests": Path("r")}, {"per_class": 4}, (4, None, None)),
        ({"requests": Path("r")}, {"findings": ("A",)}, (20, ("A",), None)),
        ({"requests": Path("r")}, {}, (None, None, Path("r"))),
        ({"requests": Path("r")}, {"requests": Path("s")}, (None, None, Path("s"))),
        ({"requests": Path("r")}, {"like_real": 9}, (None, None, None, 9, 0.0)),
        ({"like_real": 9, "boost": 0.5}, {}, (None, None, None, 9, 0.5)),
        ({"like_real": 9, "boost": 0.5}, {"per_class": 2}, (2, None, None)),
        ({"like_real": 9, "boost": 0.5}, {"requests": Path("r")}, (None, None, Path("r"))),
        ({"like_real": 9, "boost": 0.5}, {"like_real": 7}, (None, None, None, 7, 0.5)),
        ({"like_real": 9}, {"boost": 1.0}, (None, None, None, 9, 1.0)),
        ({"per_class": 3}, {"like_real": 9, "boost": 0.1}, (None, None, None, 9, 0.1)),
    ],
)
def test_what_to_build_has_one_answer(section, flags, expected):
    chosen = settings.resolve_build(BuildSettings(**section), **flags)
    found = (chosen.images_per_class, chosen.findings, chosen.requests, chosen.like_real, chosen.boost)
    assert found == (*expected, None, 0.0)[:5]


def test_the_search_has_the_file_s_limits_with_typed_ones_on_top():
    project = Project(search={"steps": 3, "match": ["view"]})
    assert search_settings(project, {"steps": 4}) == SearchSettings(steps=4, match=("view",))
    with pytest.raises(SettingsError, match=r"xrarchive.toml \[search\]: unknown key 'step'"):
        search_settings(Project(search={"step": 3}), {})
    assert search_settings(project, {}, like_real=True) == SearchSettings(steps=3, match=("view",), natural=True)
    assert not search_settings(project, {"strictness": 0.1}, like_real=True).natural
    assert not search_settings(Project(search={"natural": False}), {}, like_real=True).natural
    with pytest.raises(SettingsError, match="search: slots must be at least 1"):
        search_settings(project, {"slots": 0})


def test_two_answers_on_the_command_line_are_refused():
    with pytest.raises(SettingsError, match="leave out"):
        settings.resolve_build(BuildSettings(), requests=Path("r"), per_class=3)
    with pytest.raises(SettingsError, match="requests and like_real both say"):
        settings.resolve_build(BuildSettings(), requests=Path("r"), like_real=3)
    with pytest.raises(SettingsError, match="like_real must be at least 1"):
        settings.resolve_build(BuildSettings(), like_real=0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nimg=370_000", ("nimg", 370_000)),
        ("lr = 1e-3", ("lr", 1e-3)),
        ("loss=wgan-gp", ("loss", "wgan-gp")),
        ('loss="wgan-gp"', ("loss", "wgan-gp")),
        ("names=['a']", ("names", ["a"])),
        ("flag=true", ("flag", True)),
        ("a=b=c", ("a", "b=c")),
    ],
)
def test_assignments(text, expected):
    assert tables.parse_assignment(text) == expected


@pytest.mark.parametrize("text", ["nimg", "=3", "a b=3", "[x]=1"])
def test_what_is_no_assignment(text):
    with pytest.raises(ValueError, match="expected key=value"):
        tables.parse_assignment(text)


def test_the_template_names_every_setting_and_is_valid_in_every_line(tmp_path):
    settings.write_template(tmp_path)
    assert load_project(tmp_path) == Project()
    lines = (tmp_path / "xrarchive.toml").read_text().splitlines()
    shown = {line.removeprefix("# ").split(" = ")[0] for line in lines if line.startswith("# ") and " = " in line}
    sections = (
        dataclasses.fields(field.default)
        for field in dataclasses.fields(Project)
        if dataclasses.is_dataclass(field.default)
    )
    assert {field.name for section in sections for field in section} <= shown


def test_the_template_shows_the_defaults():
    """Uncommented, and without the examples, it says what the code says."""
    lines = [
        line.removeprefix("# ")
        for line in settings.TEMPLATE.splitlines()
        if line.startswith(("[", "# ")) and "# example" not in line and (" = " in line or line.startswith("["))
    ]
    project = from_table(Project, tomllib.loads("\n".join(lines)), "template")
    assert dataclasses.replace(project, generator={}, search={}, gates={}, build=BuildSettings()) == Project()
    assert search_settings(project, {}) == SearchSettings()
    assert gate_settings(project) == GateSettings()
    assert project.build == BuildSettings(per_class=settings.DEFAULT_PER_CLASS)


def test_the_template_s_examples_are_valid():
    lines = [line.removeprefix("# ") for line in settings.TEMPLATE.splitlines() if line.startswith(("[", "# "))]
    table = tomllib.loads("\n".join(line for line in lines if " = " in line or line.startswith("[")))
    for name in ("like_real", "boost"):
        del table["build"][name]
    requests = table["build"].pop("requests")
    assert BuildSettings(requests=Path(requests), exclusive=table["build"]["exclusive"])
    assert BuildSettings(like_real=1_000, boost=0.5)
    assert search_settings(Project(search=table["search"]), {}).match == ("view",)
    assert from_table(Project, table, "template").publish.version == "1.0.0"


def test_the_template_never_overwrites(tmp_path):
    (tmp_path / "xrarchive.toml").write_text("[build]\n")
    with pytest.raises(SettingsError, match="exists"):
        settings.write_template(tmp_path)
    assert (tmp_path / "xrarchive.toml").read_text() == "[build]\n"
