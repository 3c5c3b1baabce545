"""A tiny world that every test folder shares: 96 generated films of 48 patients, 16 px, and weights trained on them.

No patient anywhere. A finding is a bright blob in its own place, so that seconds of training are enough. What takes
seconds is made once for all processes of a run (`made_once`), and is not to be changed by a test.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from browser import chromium, pytest_terminal_summary, screenshots, visit  # noqa: F401  (fixtures and a hook)
from filelock import FileLock
from tiny_build import build_tiny
from tiny_films import TINY_FINDINGS, TINY_PX, write_tiny_source

if TYPE_CHECKING:
    from xrarchive.classifier.settings import Role

# Read by torch when it is first imported, here and in every process a test starts: results depend on it.
os.environ["OMP_NUM_THREADS"] = "1"


# How long a slow test may take that names no time of its own: ten times what the slowest of them takes alone.
SLOW_S = 600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give slow tests time enough on a machine that is slow or has other work."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_S))


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """`made_once(name, make)` gives a folder that `make` filled once for all processes of this run."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # a folder of its own for each, in the one of the run
        root = root.parent

    def made(name: str, make: Callable[[Path], object]) -> Path:
        folder, done = root / f"shared-{name}", root / f"shared-{name}.done"
        with FileLock(root / f"shared-{name}.lock"):
            if not done.exists():
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def tiny_set(made_once: Callable[..., Path]) -> Path:
    """A radiograph set folder: 16 px, No Finding, Effusion and Mass; all splits but `unlabelled`."""
    from xrarchive.radiographs import ingest

    def make(folder: Path) -> None:
        ingest(write_tiny_source(folder / "source"), folder / "set", size_px=TINY_PX, findings=TINY_FINDINGS)

    return made_once("tiny", make) / "set"


@pytest.fixture(scope="session")
def tiny_generator(tiny_set: Path, made_once: Callable[..., Path]) -> Path:
    """A generator.safetensors of 16 px whose images vary enough for the tiny guide."""
    from xrarchive.gan.settings import GeneratorSettings
    from xrarchive.gan.training import Watch, train_generator
    from xrarchive.radiographs import open_set

    settings = GeneratorSettings(
        resolution=TINY_PX, nimg=2_000, start_px=8, latent_size=8, width_max=8, batch=16, averaging=0.96,
        learning_rate=5e-3, checkpoint_nimg=2_000, precision="float32",
    )  # fmt: skip
    watch = Watch(metric_nimg=0)
    out = made_once("generator", lambda out: train_generator(open_set(tiny_set), out, settings=settings, watch=watch))
    return out / "generator.safetensors"


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
def tiny_guide(train_tiny: Callable[..., Path], made_once: Callable[..., Path]) -> Path:
    """A guide.safetensors of 16 px with a threshold for each finding, all of them offered."""
    return made_once("guide", lambda out: train_tiny(out, "guide")) / "guide.safetensors"


@pytest.fixture(scope="session")
def tiny_judge(train_tiny: Callable[..., Path], tiny_guide: Path, made_once: Callable[..., Path]) -> Path:
    """A judge.safetensors of 16 px that shares no patient with the tiny guide and is paired with it."""
    return made_once("judge", lambda out: train_tiny(out, "judge", guide=tiny_guide.parent)) / "judge.safetensors"


@pytest.fixture(scope="session")
def tiny_referee(train_tiny: Callable[..., Path], made_once: Callable[..., Path]) -> Path:
    """A referee.safetensors of 16 px, of the judge's patients."""
    return made_once("referee", lambda out: train_tiny(out, "referee")) / "referee.safetensors"


@pytest.fixture(scope="session")
def tiny_weights(tiny_generator: Path, tiny_guide: Path, tiny_judge: Path) -> dict[str, Path]:
    """The weight files a build takes, by role."""
    return {"generator": tiny_generator, "guide": tiny_guide, "judge": tiny_judge}


@pytest.fixture(scope="session")
def tiny_built(tiny_weights: dict[str, Path], made_once: Callable[..., Path]) -> Path:
    """An archive of 18 images, as `build` leaves it."""
    return made_once("built", lambda folder: build_tiny(folder / "chests", tiny_weights)) / "chests"


@pytest.fixture(scope="session")
def tiny_carded(
    tiny_built: Path, tiny_set: Path, tiny_judge: Path, tiny_referee: Path, made_once: Callable[..., Path]
) -> Path:
    """`tiny_built`, validated in all parts, with its card."""
    from xrarchive import pipeline

    def make(folder: Path) -> None:
        archive = shutil.copytree(tiny_built, folder / "chests")
        waivers = {"integrity.near_duplicates": "Images of 16 px are alike."}
        pipeline.validate(archive, radiographs=[tiny_set], judge=tiny_judge, referee=tiny_referee, waivers=waivers)
        pipeline.write_card(archive, date="2026-11-23")

    return made_once("carded", make) / "chests"


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
