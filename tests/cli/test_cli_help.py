"""Help: complete, with an example that parses, and quick because nothing heavy is imported."""

import shlex
import subprocess
import sys

import click
import pytest

from xrarchive.cli.main import main

CONTRACT = ["ingest", "train", "build", "validate", "card", "publish"]
CONTRACT += [
    "show",
    "browse",
    "check",
    "log",
    "extend",
    "withdraw",
    "split",
    "diff",
    "merge",
    "export",
    "gc",
    "radiographs",
    "study",
    "status",
    "weights",
    "doctor",
    "init",
]
HEAVY = ("torch", "numpy", "pyarrow", "datasets", "huggingface_hub", "sklearn", "PIL", "rich", "jinja2")


def all_commands(group, path=()):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from all_commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(all_commands(main))


def examples(command):
    lines = [line.strip() for line in (command.epilog or "").splitlines()]
    return [line for line in lines if line.startswith("xrarchive ")]


def test_the_commands_in_pipeline_order():
    assert list(main.commands) == CONTRACT
    assert main.list_commands(click.Context(main)) == CONTRACT


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_ends_with_an_example_that_parses(run, path):
    assert run(f"{' '.join(path)} --help").stdout.rstrip().splitlines()[-1].strip() == examples(COMMANDS[path])[-1]
    for line in examples(COMMANDS[path]):
        words = shlex.split(line)[1:]
        assert tuple(words[: len(path)]) == path
        COMMANDS[path].make_context(line, words[len(path) :])


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_json_and_says_what_it_prints(path):
    (option,) = [param for param in COMMANDS[path].params if param.name == "as_json"]
    assert option.help.removeprefix("Print the result as one JSON object: ").removesuffix(".")


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_option_is_explained(path):
    for param in COMMANDS[path].params:
        assert isinstance(param, click.Argument) or param.help


@pytest.mark.parametrize("words", [["--help"], ["build", "--help"], ["train", "generator", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(words):
    script = (
        "import sys\nfrom xrarchive.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print('heavy:', *(name for name in {HEAVY!r} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy:"


def test_reading_the_project_file_needs_nothing_heavy(folder):
    (folder / "xrarchive.toml").write_text("[build]\nper_clas = 3\n")
    script = (
        "import sys\nfrom xrarchive.cli.main import main\n"
        "sys.modules['xrarchive.pipeline'] = sys\n"
        "try:\n    main(['show'])\nexcept SystemExit as end:\n    assert end.code == 2, end.code\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Did you mean 'per_class'?" in done.stderr
