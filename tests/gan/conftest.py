from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from faults import SETTINGS, UNMEASURED, World

from xrarchive.gan.runs import Start
from xrarchive.gan.settings import GeneratorSettings
from xrarchive.gan.training import TrainingReport, train_generator
from xrarchive.radiographs import RadiographSet, open_set

Train = Callable[..., TrainingReport]


@pytest.fixture
def settings() -> GeneratorSettings:
    return SETTINGS


@pytest.fixture(scope="session")
def radiographs(tiny_set: Path) -> RadiographSet:
    return open_set(tiny_set)


@pytest.fixture
def train(radiographs: RadiographSet, tmp_path: Path) -> Train:
    """Train the tiny settings, changed as told, in `tmp_path/<name>`."""

    def run(name: str = "run", **changes: object) -> TrainingReport:
        on_status = changes.pop("on_status", lambda _status: None)
        start, watch = changes.pop("start", Start()), changes.pop("watch", UNMEASURED)
        on_nan = changes.pop("on_nan", "stop")
        return train_generator(
            radiographs,
            tmp_path / name,
            settings=dataclasses.replace(SETTINGS, **changes),
            start=start,
            watch=watch,
            on_nan=on_nan,
            on_status=on_status,
        )

    return run


@pytest.fixture(scope="session")
def straight(radiographs: RadiographSet, tmp_path_factory: pytest.TempPathFactory) -> TrainingReport:
    """The tiny run without any interruption."""
    return train_generator(radiographs, tmp_path_factory.mktemp("straight"), settings=SETTINGS, watch=UNMEASURED)


@pytest.fixture(scope="session")
def world(radiographs: RadiographSet, straight: TrainingReport, tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(radiographs, tmp_path_factory.mktemp("world"), straight.out)
