"""study.json and key.json: what they hold, written and read back. See the package for the layout of the folder.

study.json is written last; its sha256 names the study in every page and result. It names the key's sha256, so that a
key that was changed after the pages went out is found out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xrarchive.errors import DamageError, InputDataError
from xrarchive.files import dump_json, read_json, sha256_bytes, sha256_file, write_json
from xrarchive.study.arranging import MAIN, REPEAT, Trial
from xrarchive.study.leaks import Leak
from xrarchive.study.power import Power
from xrarchive.study.protocol import Protocol
from xrarchive.study.selecting import SYNTHETIC

STUDY_NAME, KEY_NAME, READERS_FOLDER = "study.json", "key.json", "readers"
_SCHEMA, _KEY_SCHEMA = "xrarchive.study/1", "xrarchive.study-key/1"
_AGAIN = "Make the study again with `xrarchive study make`, or restore the file from a copy."


@dataclass(frozen=True)
class KeyEntry:
    """The truth about one image of a study (see `selecting.Film`)."""

    kind: str
    finding: str
    size_px: int
    source: str
    labels: Mapping[str, int]

    @property
    def synthetic(self) -> bool:
        """Whether it was computed."""
        return self.kind == SYNTHETIC


@dataclass(frozen=True)
class Key:
    """The content of key.json.

    Attributes:
        seed: Of everything random in the study.
        images: The truth by image id.
        tokens: By reader the secret in their page under which results are summed.
        lifts: By finding and other finding, from the labels of the real set (see `selecting.label_lifts`).
    """

    seed: int
    images: Mapping[str, KeyEntry]
    tokens: Mapping[str, str]
    lifts: Mapping[str, Mapping[str, float]]

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"schema": _KEY_SCHEMA, **dataclasses.asdict(self)}


@dataclass(frozen=True)
class Study:
    """The content of study.json; says of no film what it is.

    Attributes:
        protocol: Settings, without the seed, which would give the key away.
        sizes_px: Sides at which films are shown.
        findings: What readers may tick, `No Finding` left out.
        images: sha256 of each image's file by id.
        trials: By reader.
        key_sha256: Of key.json's bytes.
        manifest_sha256: Of the archive.
        set_sha256: Of the radiograph set.
        terms: Of the real films.
        power: From the planner.
        leaks: Of the container.
        statistics: Of the images.
    """

    protocol: Protocol
    sizes_px: tuple[int, ...]
    findings: tuple[str, ...]
    images: Mapping[str, str]
    trials: Mapping[str, tuple[Trial, ...]]
    key_sha256: str
    manifest_sha256: str
    set_sha256: str
    terms: tuple[str, ...]
    power: Power
    leaks: tuple[Leak, ...]
    statistics: tuple[Leak, ...]

    def as_dict(self) -> dict[str, Any]:
        """The JSON form. The seed is in the key alone."""
        content = {"schema": _SCHEMA, **dataclasses.asdict(self)}
        del content["protocol"]["seed"]
        return content

    @property
    def sha256(self) -> str:
        """Of the bytes of study.json: names the study."""
        return sha256_bytes(dump_json(self.as_dict()))

    @property
    def scored_images(self) -> tuple[str, ...]:
        """Ids of the films that count, in the order of their ids."""
        trials = next(iter(self.trials.values()))
        return tuple(sorted({image for trial in trials if trial.part in (MAIN, REPEAT) for image in trial.images}))


def write_study(folder: Path, study: Study, key: Key) -> None:
    """Write key.json and, last, study.json."""
    write_json(folder / KEY_NAME, key.as_dict())
    write_json(folder / STUDY_NAME, study.as_dict())


def read_study(folder: Path) -> tuple[Study, Key]:
    """The study and its key.

    Raises:
        InputDataError: If there is no finished study.
        DamageError: If either file was changed since.
    """
    fix = f"Make one with `xrarchive study make ARCHIVE --radiographs SET --out {folder}`."
    study = _parsed(folder / STUDY_NAME, read_json(folder / STUDY_NAME, what="reader study", fix=fix), _SCHEMA, _study)
    key = _parsed(folder / KEY_NAME, read_json(folder / KEY_NAME, what="key", fix=_AGAIN), _KEY_SCHEMA, _key)
    if study.sha256 != sha256_file(folder / STUDY_NAME):
        raise _damaged(folder / STUDY_NAME, "its bytes are not those `study make` writes for this content")
    if study.key_sha256 != sha256_file(folder / KEY_NAME):
        raise _damaged(folder / KEY_NAME, f"it is not the key that {STUDY_NAME} names")
    return study, key


def _parsed(path: Path, value: Any, schema: str, parse: Any) -> Any:
    found = value.get("schema") if isinstance(value, dict) else None
    if found != schema:
        raise InputDataError(f"{path} is of format {found!r}, expected {schema!r}.", fix="Update xrarchive.", path=path)
    try:
        return parse(value)
    except (KeyError, TypeError, AttributeError, ValueError) as err:
        raise _damaged(path, f"a field is missing or misshapen ({err})") from err


def _damaged(path: Path, why: str) -> DamageError:
    return DamageError(f"{path} was changed or damaged: {why}.", fix=_AGAIN, path=path)


def _study(value: Mapping[str, Any]) -> Study:
    fields = {field.name: value[field.name] for field in dataclasses.fields(Study)}
    trials = {
        reader: tuple(Trial(**{**trial, "images": tuple(trial["images"])}) for trial in each)
        for reader, each in fields["trials"].items()
    }
    power = fields["power"]
    return Study(
        **{
            **fields,
            "protocol": Protocol(**fields["protocol"]),
            "sizes_px": tuple(fields["sizes_px"]),
            "findings": tuple(fields["findings"]),
            "trials": trials,
            "terms": tuple(fields["terms"]),
            "power": Power(**{**power, "detect": tuple(power["detect"]), "equivalence": tuple(power["equivalence"])}),
            "leaks": tuple(Leak(**leak) for leak in fields["leaks"]),
            "statistics": tuple(Leak(**leak) for leak in fields["statistics"]),
        }
    )


def _key(value: Mapping[str, Any]) -> Key:
    images = {image: KeyEntry(**entry) for image, entry in value["images"].items()}
    return Key(value["seed"], images, value["tokens"], value["lifts"])
