"""A tiny world for studies: an archive of noise, the tiny radiograph set, and studies made of both."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xrarchive.records import ImageRequest
from xrarchive.study.folder import read_study
from xrarchive.study.making import StudyReport, make_study
from xrarchive.study.models import ReaderModel
from xrarchive.study.protocol import Protocol
from xrarchive.study.results import checksum
from xrarchive.study.simulating import simulate_results

Make = Callable[..., StudyReport]


@pytest.fixture(scope="session")
def study_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 images of noise, 12 px: Mass, No Finding and Effusion."""
    path = Path(__file__).parents[1] / "archive" / "made_archive.py"
    spec = importlib.util.spec_from_file_location("made_archive_for_studies", path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    asked = (ImageRequest(("Mass",), 16), ImageRequest(("No Finding",), 16, absent=("Mass",)))
    plan = made.make_plan(requests=(*asked, ImageRequest(("Effusion",), 16)), unit_images=16)
    archive: Path = made.make_archive(tmp_path_factory.mktemp("study") / "archive", plan, rows_per_shard=100)
    return archive


@pytest.fixture(scope="session")
def make(study_archive: Path, tiny_set: Path) -> Make:
    """``make(out, **settings)``: a study of 20 cases, its films far too small."""

    def call(out: Path, *, confirm: Callable[[Any], bool] = lambda _: True, sizes_px: Any = (), **settings: Any) -> Any:
        protocol = Protocol(**({"cases": 20, "readers": 3, "technical": True, "block": 8} | settings))
        return make_study(study_archive, tiny_set, out, protocol, confirm=confirm, sizes_px=sizes_px)

    return call


@pytest.fixture(scope="session")
def studies(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``studies(**settings)``: such a study, made once a run; never to be written to."""
    made: dict[str, Path] = {}

    def call(**settings: Any) -> Path:
        name = json.dumps(settings, sort_keys=True)
        if name not in made:
            made[name] = tmp_path_factory.mktemp("made") / "study"
            make(made[name], **settings)
        return made[name]

    return call


@pytest.fixture
def answered(tmp_path: Path) -> Callable[..., list[Path]]:
    """``answered(study, **model)``: results of simulated readers."""

    def call(study_dir: Path, *, seed: int = 0, **model: float) -> list[Path]:
        study, key = read_study(study_dir)
        return list(simulate_results(study, key, tmp_path / f"results-{seed}", ReaderModel(**model), seed=seed))

    return call


@pytest.fixture
def edit() -> Callable[..., Path]:
    """``edit(path, study, change)``: the result after `change`, summed again as its page would."""

    def call(path: Path, study_dir: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
        value = json.loads(path.read_bytes())
        change(value)
        value.pop("checksum", None)
        _, key = read_study(study_dir)
        token = key.tokens.get(value.get("reader"), "")
        path.write_text(json.dumps({**value, "checksum": checksum(value, token)}), encoding="utf-8")
        return path

    return call
