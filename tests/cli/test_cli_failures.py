"""Every kind of failure: its exit code, its words, its JSON."""

import errno
import json
import os
import signal
import subprocess
import sys

import pytest

from xrarchive import errors


def subclasses(cls):
    return [
        item for sub in cls.__subclasses__() for item in (sub, *subclasses(sub)) if item.__module__ == errors.__name__
    ]


@pytest.mark.parametrize("kind", subclasses(errors.XrArchiveError))
def test_errors_of_the_world(run, pipeline, kind):
    pipeline.results["build"] = kind("What happened.", fix="What to do.", path="archive")
    result = run("build")
    assert result.exit_code == kind.code != 1
    assert result.stderr == "Error: What happened.\nFix: What to do.\n"
    result = run("build --json")
    assert result.exit_code == kind.code
    assert json.loads(result.stdout) == {
        "code": kind.code,
        "kind": kind.kind,
        "message": "What happened.",
        "fix": "What to do.",
        "path": "archive",
    }


@pytest.mark.parametrize(
    ("err", "code", "kind"),
    [
        (MemoryError(), 12, "memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), 12, "memory"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "archive/x"), 4, "storage"),
        (KeyboardInterrupt(), 130, "stopped"),
        (OSError(errno.EIO, "input/output error"), 1, "bug"),
        (ZeroDivisionError("division by zero"), 1, "bug"),
    ],
)
def test_other_ends(run, pipeline, err, code, kind):
    pipeline.results["build"] = err
    result = run("build --seed 3 --json")
    error = json.loads(result.stdout)
    assert (result.exit_code, error["code"], error["kind"]) == (code, code, kind)
    assert set(error) == {"code", "kind", "message", "fix", "path"}
    assert error["fix"]
    assert ("Traceback" in result.stderr) == (kind == "bug")


def test_a_bug_is_a_traceback_and_no_advice(run, pipeline):
    pipeline.results["build"] = ZeroDivisionError("division by zero")
    result = run("build")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert "Fix:" not in result.stderr


def test_an_interrupted_command_says_how_to_go_on(run, pipeline):
    pipeline.results["build"] = KeyboardInterrupt()
    result = run("build --out my-archive")
    assert result.exit_code == 130
    assert "go on with: xrarchive build --out my-archive" in result.stderr


def test_control_characters_of_a_message_are_escaped(run, pipeline):
    pipeline.results["build"] = errors.InputDataError("bad name \x1b]0;hello\x07", fix="Rename it.")
    assert "\x1b" not in run("build").stderr


def test_usage_errors_in_json(run_json):
    code, error = run_json("build --per-class none")
    assert (code, error["kind"]) == (2, "usage")
    assert "build --help" in error["fix"]


def test_no_command_shows_help_with_exit_code_2(run):
    result = run("")
    assert result.exit_code == 2
    assert "Commands:" in result.stderr


def test_a_terminated_command_ends_with_143_and_cleans_up(tmp_path):
    """The real signal in a real process; the pipeline is a file that sleeps under a lock."""
    script = (
        "import sys, time, types, pathlib\n"
        "from xrarchive.files import locked\n"
        "fake = types.ModuleType('xrarchive.pipeline')\n"
        "def build(out, **rest):\n"
        "    with locked(pathlib.Path(out)):\n"
        "        print('ready', flush=True); time.sleep(60)\n"
        "fake.build = build\n"
        "import xrarchive; xrarchive.pipeline = sys.modules['xrarchive.pipeline'] = fake\n"
        "from xrarchive.cli.main import main; main(['build', '--out', 'a'])\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=50)
    assert process.returncode == 143
    assert "go on with: xrarchive build --out a" in stderr
    assert not (tmp_path / "a/.lock-holder").exists()
