"""Commands run in an empty folder against a recording stand-in for the pipeline: what arrives, what is printed."""

import dataclasses
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click.testing
import pytest

import xrarchive
from xrarchive.cli.main import main
from xrarchive.records import Status, Tally


@dataclasses.dataclass(frozen=True)
class Ingested:
    images: int = 3
    patients: int = 2
    findings: dict[str, int] = dataclasses.field(default_factory=lambda: {"No Finding": 1, "Effusion": 2})
    splits: dict[str, int] = dataclasses.field(default_factory=lambda: {"train": 3})
    rejected: list[dict[str, str]] = dataclasses.field(
        default_factory=lambda: [{"image": "a\x1b[2J.png", "reason": "truncated"}]
    )
    out: str = "set"


@dataclasses.dataclass(frozen=True)
class Trained:
    out: Path = Path("run")
    sha256: str = "ab" * 32
    images_per_s: float = float("nan")
    findings: dict[str, Any] = dataclasses.field(
        default_factory=lambda: {"Effusion": {"positives": 9, "cross_fitted": {"value": 0.81}, "test": None}}
    )


@dataclasses.dataclass(frozen=True)
class Built:
    out: Path = Path("archive")
    rows: int = 5
    shortfall: bool = False
    unfinished: bool = False
    tallies: tuple[Tally, ...] = (Tally(("Effusion",), (), 5, 5, 7, 0, None, 2.0, 11.5),)


@dataclasses.dataclass(frozen=True)
class Checked:
    problems: tuple[dict[str, str], ...] = ()
    regenerated: dict[str, Any] | None = None
    signed_by: str | None = None

    @property
    def sound(self) -> bool:
        return not self.problems


class Plan:
    """What `confirm` is shown and a dry run gives."""

    def as_dict(self) -> dict[str, Any]:
        files = [{"path": "data/train-00000.parquet", "bytes": 2_000_000, "sha256": "cd" * 32}]
        dataset = {"repo": "me/chests", "kind": "dataset", "bytes": 2_000_000, "files": files}
        return {
            "archive": "archive",
            "version": "1.0.0",
            "tag": "v1.0.0",
            "dataset": dataset,
            "model": None,
            "withheld": [],
            "notes": ["NIH ChestX-ray14: provided by the NIH Clinical Center."],
        }


class Receipt:
    def as_dict(self) -> dict[str, Any]:
        published = {"repo": "me/chests", "tag": "v1.0.0", "commit": "0" * 40}
        load = 'load_dataset("me/chests", revision="v1.0.0")'
        return {**published, "already_published": False, "model": None, "withheld": [], "folder": "", "load": load}


class Retracted:
    def as_dict(self) -> dict[str, Any]:
        said = {"repo": "me/chests", "tag": "v1.0.0", "reason": "Swapped labels.", "stays": "The version itself stays."}
        return {**said, "already_retracted": False}


STATUS = {
    "run": "run",
    "state": "running",
    "nimg": 100,
    "total": 200,
    "finished": False,
    "px": 16,
    "alpha": 0.5,
    "images_per_s": 10.0,
    "left_s": 140.0,
    "last": {"nimg": 100, "px": 16, "alpha": 0.5, "loss_d": 1.25, "loss_g": 0.75},
    "warnings": ["collapse: the images are alike."],
    "best": {"nimg": 80, "kid": 0.31},
    "critic": {"nimg": 80, "auroc": 0.55, "low": 0.5, "high": 0.6},
    "checkpoint": "nimg-000000080",
}


SURVEY = {
    "source": "src",
    "layout": "chexpert",
    "why": "train.csv",
    "listed": 5,
    "images": 4,
    "patients": 3,
    "findings": {"No Finding": {"present": 1, "absent": 2, "uncertain": 0, "unknown": 1}},
    "by_split": {"train": {"No Finding": 1}},
    "splits": {"train": 4},
    "views": {"PA": 3, "": 1},
    "left_out": {"view-lateral": 1},
    "missing": 1,
    "first_missing": ["a\x1b[2J.png"],
    "unmapped": {f"word {index}": 12 - index for index in range(12)},
    "policies": {"uncertain": "zeros"},
    "ignored_columns": [],
    "terms": ["chexpert"],
    "notes": ["A note."],
}


class FakePipeline(types.ModuleType):
    """Records ``(function, arguments, keywords)``; gives what `results` holds, or raises it."""

    def __init__(self) -> None:
        super().__init__("xrarchive.pipeline")
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.results: dict[str, Any] = {
            "ingest": Ingested(),
            "survey": SURVEY,
            "train_generator": Trained(),
            "train_classifier": Trained(),
            "build": Built(),
            "validate": {"gates": {"open": True, "weights_open": True, "list": []}},
            "waive": {"gates": {"open": True, "weights_open": True, "list": []}},
            "write_card": Path("archive/README.md"),
            "show": {"rows": 5, "counts": {"Effusion": 5}},
            "check": Checked(),
            "status": STATUS,
            "retract": Retracted(),
        }
        for name in self.results:
            setattr(self, name, self._recorder(name))

    def _recorder(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, args, kwargs))
            if "on_status" in kwargs:
                kwargs["on_status"](Status(1, 2, "images", "Effusion"))
            result = self.results[name]
            if isinstance(result, BaseException):
                raise result
            return result

        return call

    def user_cache(self) -> Path:
        return Path("cache")

    def publish(self, *args: Any, **kwargs: Any) -> Any:
        self.calls.append(("publish", args, kwargs))
        if kwargs["dry_run"]:
            return Plan()
        return Receipt() if kwargs["confirm"](Plan()) else None


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def pipeline(monkeypatch: pytest.MonkeyPatch) -> FakePipeline:
    fake = FakePipeline()
    monkeypatch.setitem(sys.modules, "xrarchive.pipeline", fake)
    monkeypatch.setattr(xrarchive, "pipeline", fake, raising=False)
    return fake


Run = Callable[..., click.testing.Result]


@pytest.fixture
def run() -> Run:
    def call(line: str, **more: Any) -> click.testing.Result:
        return click.testing.CliRunner().invoke(main, line.split(), **more)

    return call


@pytest.fixture
def run_json(run: Run) -> Callable[[str], tuple[int, dict[str, Any]]]:
    def call(line: str) -> tuple[int, dict[str, Any]]:
        result = run(f"{line} --json")
        return result.exit_code, json.loads(result.stdout)

    return call
