"""What a stranger gets: metadata that agrees with itself, scripts that run from anywhere, a wheel that works alone."""

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SCRIPTS = ["scripts/setup", "scripts/check", "scripts/test", "scripts/setup-browser", ".ci/run", "scripts/train.slurm"]
SCRIPTS += ["scripts/chain", "scripts/reproduce_bundled"]


def test_the_citation_names_this_version_and_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert str(citation["version"]) == PYPROJECT["project"]["version"]
    assert citation["license"] == PYPROJECT["project"]["license"]
    paper = citation["preferred-citation"]
    assert paper["doi"] == "10.1007/s42979-021-00720-7"
    assert [author["family-names"] for author in paper["authors"]] == ["Segal", "Rubin", "Rubin", "Pantanowitz"]


def test_the_changelog_has_a_place_for_what_comes():
    assert "\n## [Unreleased]\n" in (ROOT / "CHANGELOG.md").read_text()


def test_the_licence_is_the_one_declared():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "The xrarchive authors" in text
    assert "[yyyy]" not in text


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def pins():
    lines = (ROOT / "scripts/constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_every_dependency_is_pinned_exactly():
    project = PYPROJECT["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {normal(re.match(r"[A-Za-z0-9._-]+", line).group()) for line in wanted}
    assert names <= set(map(normal, pins()))
    assert pins()["torch"] == "2.13.0"
    assert not [version for version in pins().values() if "+" in version]


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_executable_bash(script):
    path = ROOT / script
    assert os.access(path, os.X_OK)
    subprocess.run(["bash", "-n", str(path)], check=True)
    assert path.read_text().startswith("#!/usr/bin/env bash\n")


def test_commit_hooks_are_local_and_call_the_checks():
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repo["repo"] for repo in repos] == ["local"]
    parts = [hook["entry"].removeprefix("scripts/check ") for hook in repos[0]["hooks"]]
    assert parts == ["format", "lint", "types"]
    for part in parts:
        assert f"\n{part}() {{" in (ROOT / "scripts/check").read_text()


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A fresh environment with the wheel in it, and this one's packages after it on the path; its bin folder."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=500)
    (wheel,) = folder.glob("xrarchive-*.whl")
    venv.create(folder / "venv", with_pip=False)
    site = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(folder / "venv")}))
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(folder / "venv/bin/python"),
        "install",
        "--no-deps",
        "--no-index",
    ]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True, timeout=500)
    # Lines of a .pth file that are paths are appended, and .pth files they hold are not read: no editable install.
    (site / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return folder / "venv/bin"


def outcome(*command, cwd):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, cwd=cwd, env=environment, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_wheel_s_command_runs(installed, tmp_path):
    assert "build" in outcome(installed / "xrarchive", "--help", cwd=tmp_path)
    version = outcome(installed / "xrarchive", "--version", cwd=tmp_path)
    assert version == f"xrarchive {PYPROJECT['project']['version']}\n"


@pytest.mark.slow
def test_the_wheel_brings_templates_weights_and_types(installed, tmp_path):
    script = (
        "import pathlib, xrarchive\nroot = pathlib.Path(xrarchive.__file__).parent\n"
        "print(*sorted(p.relative_to(root).as_posix() for p in root.rglob('*') if p.is_file()), sep='\\n')"
    )
    files = set(outcome(installed / "python", "-c", script, cwd=tmp_path).splitlines())
    source = ROOT / "xrarchive"
    ours = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    ours = {path for path in ours if "__pycache__" not in path and ".tmp-" not in path}
    cards = {f"cards_templates/{path.name}" for path in (ROOT / "cards").iterdir()}
    assert cards
    assert ours | cards <= files
    assert {path for path in files if path.startswith("bundled/") and path.endswith(".safetensors")}
    assert "py.typed" in files
