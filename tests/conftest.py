"""A tiny world that every test folder shares: 96 generated films of 48 patients, 16 px, and weights trained on them.

No patient anywhere. A finding is a bright blob in its own place, so that seconds of training are enough.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from browser import chromium, pytest_terminal_summary, screenshots, visit  # noqa: F401  (fixtures and a hook)
from tiny_films import TINY_FINDINGS, TINY_PX, write_tiny_source

if TYPE_CHECKING:
    from xrarchive.classifier.settings import Role

# Read by torch when it is first imported, here and in every process a test starts: results depend on it.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session")
def tiny_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A radiograph set folder: 16 px, No Finding, Effusion and Mass; all splits but `unlabelled`."""
    from xrarchive.radiographs import ingest

    folder = tmp_path_factory.mktemp("tiny")
    ingest(write_tiny_source(folder / "source"), folder / "set", size_px=TINY_PX, findings=TINY_FINDINGS)
    return folder / "set"


@pytest.fixture(scope="session")
def tiny_generator(tiny_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator.safetensors of 16 px whose images vary enough for the tiny guide."""
    from xrarchive.gan.settings import GeneratorSettings
    from xrarchive.gan.training import Watch, train_generator
    from xrarchive.radiographs import open_set

    settings = GeneratorSettings(
        resolution=TINY_PX, nimg=2_000, start_px=8, latent_size=8, width_max=8, batch=16, averaging=0.96,
        learning_rate=5e-3, checkpoint_nimg=2_000, precision="float32",
    )  # fmt: skip
    out, watch = tmp_path_factory.mktemp("generator"), Watch(metric_nimg=0)
    return train_generator(open_set(tiny_set), out, settings=settings, watch=watch).snapshot


@pytest.fixture(scope="session")
def train_tiny(tiny_set: Path) -> Callable[..., Path]:
    """Trains a classifier on the tiny set in about a second: `train_tiny(out, role, guide=run, **settings)`."""
    from xrarchive.classifier.settings import ClassifierSettings
    from xrarchive.classifier.training import train_classifier
    from xrarchive.radiographs import open_set

    values = {"members": 1, "width": 4, "epochs": 20, "batch": 8, "learning_rate": 1e-2, "folds": 2, "shift": 0.03}
    values |= {"specificity": 0.6, "min_positives": 8}

    def train(out: Path, role: Role, *, guide: Path | None = None, **changes: object) -> Path:
        settings = ClassifierSettings(**(values | changes))  # type: ignore[arg-type]
        return train_classifier(open_set(tiny_set), out, role=role, settings=settings, guide=guide).weights

    return train


@pytest.fixture(scope="session")
def tiny_guide(train_tiny: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A guide.safetensors of 16 px with a threshold for each finding, all of them offered."""
    return train_tiny(tmp_path_factory.mktemp("guide"), "guide")


@pytest.fixture(scope="session")
def tiny_judge(train_tiny: Callable[..., Path], tiny_guide: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A judge.safetensors of 16 px that shares no patient with the tiny guide and is paired with it."""
    return train_tiny(tmp_path_factory.mktemp("judge"), "judge", guide=tiny_guide.parent)


@pytest.fixture(scope="session")
def tiny_referee(train_tiny: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A referee.safetensors of 16 px, of the judge's patients."""
    return train_tiny(tmp_path_factory.mktemp("referee"), "referee")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Commands keep features in a folder of the test run, never in the user's."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XRARCHIVE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(scope="session")
def _torchvision() -> None:
    """Let a package import torchvision where its native part does not load, which none of those under test needs.

    That is so where torch is built for processors and torchvision comes from an index that has only the other build.
    """
    import torch

    try:
        import torchvision
    except ModuleNotFoundError:
        return
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision  # noqa: F401  (while the library is there)
