"""README cannot rot: its commands parse, its paths exist, its figures are those the bench script wrote."""

import importlib.util
import json
import re
import shlex
from pathlib import Path

import click
import pytest
from made_archive import make_archive

from xrarchive.cli.main import main
from xrarchive.files import sha256_file

KID = {"kid": 0.5, "kid_low": 0.4, "kid_high": 0.6}
ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^    (xrarchive .+)$", README, re.M) + re.findall(r"`(build --.+?)`", README)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_in_readme_parses(line):
    words = shlex.split(line, comments=True)
    words = words[1:] if words[0] == "xrarchive" else words
    command, context = main, click.Context(main)
    while isinstance(command, click.Group):
        name, command, words = command.resolve_command(context, words)
        context = click.Context(command, info_name=name, parent=context)
    command.parse_args(context, words)


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"(?:\]\(|`|^    )((?:scripts|xrarchive|cards)/[\w./-]+)", README, re.M)))
)
def test_every_path_in_readme_exists(path):
    assert (ROOT / path).exists()


@pytest.fixture(scope="module")
def bench():
    """scripts/bench_bundled.py, which is no module of the package."""
    spec = importlib.util.spec_from_file_location("bench_bundled", ROOT / "scripts" / "bench_bundled.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_figures_in_readme_and_beside_the_weights_are_those_the_bench_wrote(bench):
    folder = ROOT / "xrarchive" / "bundled"
    figures = json.loads((folder / "figures.json").read_text())
    block = README.partition(bench.README_START)[2].partition(bench.README_END)[0]
    assert block.strip() == bench.readme_block(figures).strip()
    block = (folder / "TRAINING.md").read_text().partition(bench.TRAINING_START)[2].partition(bench.TRAINING_END)[0]
    curve = bench.learning_curve(folder / "generator-training.jsonl")
    assert block.strip() == bench.training_block(figures["generator"], curve).strip()
    assert figures["generator"]["sha256"] == sha256_file(folder / "generator.safetensors")


def test_the_learning_curve_counts_on_over_trainings(bench, tmp_path):
    ticks = [{"nimg": 10}, {"nimg": 20, **KID}, {"nimg": 4}, {"nimg": 5, **KID}, {"nimg": 9}, {"nimg": 3, **KID}]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(tick) + "\n" for tick in ticks))
    assert [shown for shown, *_ in bench.learning_curve(tmp_path / "log.jsonl")] == [20, 25, 32]


@pytest.fixture(scope="module")
def used(tmp_path_factory):
    """A folder in which `archive` is an archive of noise at 64 px."""
    folder = tmp_path_factory.mktemp("used")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("made_archive.SIZE_PX", 64)
        make_archive(folder / "archive")
    return folder


@pytest.mark.usefixtures("_torchvision")
def test_every_snippet_in_use_an_archive_runs(used, monkeypatch, capsys):
    monkeypatch.chdir(used)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", used / "cache")
    section = README.partition("## Use an archive")[2].partition("\n## ")[0]
    snippets = re.findall(r"```python\n(.*?)```", section, re.S)
    assert len(snippets) == 6
    found: dict[str, object] = {}
    for snippet in snippets:
        exec(compile(snippet, "README.md", "exec"), found)
    assert len(found["strong"]) == 6
    assert found["outputs"].shape == found["batch"]["lab"].shape
    assert found["loss"].isfinite()
    assert len(found["names"]) == 9
    assert found["effusion"].shape == (16,)
    capsys.readouterr()


def test_exit_codes_in_readme_are_those_of_the_errors():
    from xrarchive.errors import EXIT_BUG, EXIT_OK, EXIT_SHORTFALL, XrArchiveError

    def codes(cls):
        return {cls.code, *(code for child in cls.__subclasses__() for code in codes(child))}

    table = README.partition("**Exit codes.**")[2].partition("**Library.**")[0]
    listed = {
        int(number) for row in table.splitlines() if row.startswith("| ") for number in re.findall(r"\b\d+\b", row)
    }
    assert codes(XrArchiveError) | {EXIT_OK, EXIT_BUG, EXIT_SHORTFALL} <= listed
