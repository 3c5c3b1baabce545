"""The YAML head of an archive's README.md: both configs with every shard by name, and their features.

`datasets` reads this head, not the manifest. Naming each shard makes a missing one an error; counts of rows are left
out because they make `load_dataset(filters=...)` refuse (tried with datasets 5.2). `card` fills in the text below.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from xrarchive.archive.manifest import README_NAME, Manifest
from xrarchive.archive.schema import CONFIG_NAMES, CONFIGS, columns_of, features_of
from xrarchive.files import write_bytes
from xrarchive.terms import licence_of, require_terms

PRETTY_NAME = "Synthetic chest X-rays by finding"
_FENCE = "---\n"
# The same safe loader in C where PyYAML was built with it: ten times faster, and most of the check of a small archive.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# How a card names the manifest it was written for; see cards/dataset.md.
_CARD_OF = re.compile(r"^\| manifest \| sha256 `([0-9a-f]{64})` \|$", re.MULTILINE)
_VALIDATION_OF = re.compile(r"^\| validation \| sha256 `([0-9a-f]{64})` \|$", re.MULTILINE)
NO_CARD = "This archive has no card yet: run `xrarchive card` after `xrarchive validate`."


def readme_head(manifest: Manifest) -> dict[str, Any]:
    """The YAML head as plain values."""
    return {
        **licence_fields(manifest.terms),
        "language": ["en"],
        "annotations_creators": ["machine-generated"],
        "language_creators": ["machine-generated"],
        "task_categories": ["image-classification", "unconditional-image-generation"],
        "task_ids": ["multi-class-image-classification", "multi-label-image-classification"],
        "tags": ["synthetic", "synthetic-data", "medical", "radiology", "chest-x-ray", "x-ray", "image", "xrarchive"],
        "size_categories": [_size_category(manifest.rows)],
        "source_datasets": [f"extended|other-{name}" for name in manifest.terms or ("unrecorded",)],
        "pretty_name": PRETTY_NAME,
        "configs": [_config(manifest, config) for config in CONFIGS],
        "dataset_info": [
            {"config_name": CONFIG_NAMES[config], "features": _columns(config, manifest)} for config in CONFIGS
        ],
    }


def licence_fields(names: Iterable[str]) -> dict[str, str]:
    """The licence as the head of a card names it: "other" comes with a name and a link, as the Hub asks.

    Args:
        names: Of the terms of the radiographs behind it.

    Raises:
        SettingsError: If a name is unknown.
    """
    found = require_terms(names)
    licence = licence_of(terms.name for terms in found)
    if licence != "other":
        return {"license": licence}
    named = [terms for terms in found if terms.licence == "other"]
    if not named:
        return {"license": licence, "license_name": "no-recorded-terms", "license_link": "README.md#terms"}
    name = "-and-".join(terms.name for terms in named)
    return {"license": licence, "license_name": name, "license_link": named[0].url}


def write_readme(folder: Path, manifest: Manifest, text: str = NO_CARD) -> None:
    """Write README.md: the head, then `text`."""
    head = yaml.safe_dump(readme_head(manifest), sort_keys=False, allow_unicode=True)
    write_bytes(folder / README_NAME, f"{_FENCE}{head}{_FENCE}\n{text.strip()}\n".encode())


def read_text(folder: Path) -> str:
    """What stands below README's head: the card, or that there is none."""
    path = folder / README_NAME
    parts = path.read_text(encoding="utf-8", errors="replace").split(_FENCE, 2) if path.is_file() else []
    return parts[2].strip() if len(parts) == 3 and not parts[0] else NO_CARD


def validation_of(text: str) -> str | None:
    """The sha256 of the validation.json that a card says it was written for; None if it does not say."""
    named = _VALIDATION_OF.search(text)
    return named[1] if named else None


def restore_head(folder: Path, manifest: Manifest) -> None:
    """Make README's head what the manifest demands, where it is not; the text below stays unless another state's."""
    text = read_text(folder)
    named = _CARD_OF.search(text)
    kept = NO_CARD if named and named[1] != manifest.sha256 else text
    if kept != text or yaml_problems(folder, manifest):
        write_readme(folder, manifest, kept)


def read_head(folder: Path) -> Mapping[str, Any] | None:
    """The YAML head found in README.md, or None if there is none that can be read."""
    path = folder / README_NAME
    if not path.is_file():
        return None
    try:
        parts = path.read_text(encoding="utf-8").split(_FENCE, 2)
        head = yaml.load(parts[1], Loader=_LOADER) if len(parts) == 3 and not parts[0] else None
    except (yaml.YAMLError, ValueError):  # ValueError: not UTF-8, or an impossible date
        return None
    return head if isinstance(head, dict) else None


def yaml_problems(folder: Path, manifest: Manifest) -> list[str]:
    """How README's head differs from what the manifest demands; `datasets` believes README."""
    head = read_head(folder)
    if head is None:
        return ["has no readable YAML head, so that `datasets` would guess the columns"]
    wanted = readme_head(manifest)
    return [
        f"its {key!r} is not what the manifest demands"
        for key in ("license", "configs", "dataset_info")
        if head.get(key) != wanted[key]
    ]


def column_names(config: str, manifest: Manifest) -> list[str]:
    """Names of the columns of one of an archive's configs, in their order."""
    return [column["name"] for column in _columns(config, manifest)]


def schema_of(config: str, manifest: Manifest) -> Any:
    """`datasets.Features` of one of an archive's configs."""
    return features_of(config, manifest.findings, mode=manifest.mode, version=manifest.format)


def _columns(config: str, manifest: Manifest) -> list[dict[str, Any]]:
    return columns_of(config, manifest.findings, mode=manifest.mode, version=manifest.format)


def _config(manifest: Manifest, config: str) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "config_name": CONFIG_NAMES[config],
        "data_files": [
            {"split": split, "path": shards}
            for split in manifest.splits
            if (shards := list(manifest.shards(config, split)))
        ],
    }
    return {**entry, "default": True} if config == CONFIGS[0] else entry


def _size_category(rows: int) -> str:
    bounds = [(1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")]
    return next((name for bound, name in bounds if rows < bound), "1M<n<10M")
