"""croissant.json: the archive for machines, as Croissant 1.1 with Responsible AI 1.0.

In: the manifest and the facts, whose words come from `cards/croissant.yaml`. Out: JSON-LD with a hash for every shard,
the columns of both configs, and where everything came from. Same input, same bytes.

Why by hand: the Hub makes one of its own without hashes, provenance and RAI; the reference library is only needed to
check this one. Paths are relative, so that a copy of the archive describes itself wherever it lies.

Source: https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html, croissant-rai-spec.html; PROV-O.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from xrarchive.archive.manifest import MANIFEST_NAME, VALIDATION_NAME, Manifest
from xrarchive.archive.readme import schema_of
from xrarchive.archive.schema import CONFIG_NAMES, CONFIGS, DATA, GUIDE_PREFIX, JUDGE_PREFIX
from xrarchive.cards.templates import render
from xrarchive.errors import InputDataError

CONFORMS_TO = ("http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0")
_CR = (
    "annotation arrayShape citeAs column containedIn equivalentProperty excludes extract field fileObject fileProperty "
    "fileSet format includes isArray isLiveDataset jsonPath key md5 parentField path readLines recordSet references "
    "regex repeated replace samplingRate sdVersion separator source subField transform unArchive value"
)
# Appendix 1 of the specification, with what its reference implementation asks for besides, and PROV-O.
_CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    **{word: f"cr:{word}" for word in _CR.split()},
}
_PARQUET = "application/x-parquet"
_ABOUT = {
    "image": "The image, a lossless PNG; 0 = black.",
    "image_id": "Its name; never used again for another image.",
    "label": "The first finding asked for, as a class index.",
    "findings": "All findings asked for, as class indices.",
    "soft_label": "Probability of the finding in label, given the scores of both classifiers, as among real films.",
    "synthetic": "Always true.",
    "pixels_sha256": "SHA-256 of shape and samples, however the image is compressed.",
    "build": "Which of the builds in manifest.json made it.",
    "seed": "Of the start latent.",
    "draw": "Number of the start latent among those of its seed.",
    "steps": "Gradient steps from start to image; 0 = it showed the finding already.",
    "travel_deg": "Angle between start latent and latent, in degrees.",
    "targets": "Scores asked for, a number for each finding asked for or against.",
    "nuisances": "What the guide sees of view, sex, age and source in the image.",
    "start_nuisances": "The same of the image at the start latent.",
    "latent": "The latent the image is generated from.",
}


def render_croissant(manifest: Manifest, facts: Mapping[str, Any], *, templates: Path | None = None) -> bytes:
    """The content of croissant.json.

    Args:
        manifest: Of the archive.
        facts: From `collect_facts`.
        templates: Folder of a publisher's own templates.

    Raises:
        InputDataError: If a publisher's template gives no YAML.
    """
    content = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": list(CONFORMS_TO),
        "version": manifest.version,
        "datePublished": facts["date"],
        "isLiveDataset": False,
        **_words(facts, templates),
        "distribution": [*_files(manifest, facts), *_file_sets(manifest)],
        "recordSet": [_classes(manifest), *_splits(manifest), *(_records(config, manifest) for config in CONFIGS)],
    }
    return json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n"


def _words(facts: Mapping[str, Any], templates: Path | None) -> dict[str, Any]:
    """What `cards/croissant.yaml` says of the dataset as a whole."""
    try:
        found = yaml.safe_load(render("croissant.yaml", facts, templates=templates))
    except yaml.YAMLError as err:
        raise InputDataError(f"The filled croissant.yaml is no YAML: {err}.", fix="Mend the template.") from err
    if not isinstance(found, dict):
        raise InputDataError("The filled croissant.yaml is no mapping.", fix="Mend the template.")
    return found


def _files(manifest: Manifest, facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    shards = [_file(path, record.sha256, _PARQUET, record.bytes) for path, record in manifest.files.items()]
    texts = {MANIFEST_NAME: manifest.sha256, VALIDATION_NAME: facts["validation_sha256"]}
    return [*(_file(name, digest, "application/json") for name, digest in texts.items()), *shards]


def _file(path: str, sha256: str, kind: str, size_bytes: int | None = None) -> dict[str, Any]:
    size = {} if size_bytes is None else {"contentSize": f"{size_bytes} B"}
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path,
        "contentUrl": path,
        **size,
        "encodingFormat": kind,
        "sha256": sha256,
    }


def _file_sets(manifest: Manifest) -> list[dict[str, Any]]:
    return [
        {
            "@type": "cr:FileSet",
            "@id": f"{config}-shards",
            "name": f"{config}-shards",
            "description": f"The shards of the config {CONFIG_NAMES[config]!r}.",
            "encodingFormat": _PARQUET,
            "includes": list(manifest.shards(config)),
        }
        for config in CONFIGS
    ]


def _classes(manifest: Manifest) -> dict[str, Any]:
    """The findings by class index, for `label` and `findings` to refer to."""
    fields = [
        _field("classes/index", "sc:Integer", "Class index."),
        _field("classes/finding", "sc:Text", "Name of the finding."),
    ]
    data = [{"classes/index": index, "classes/finding": name} for index, name in enumerate(manifest.findings)]
    return {
        "@type": "cr:RecordSet",
        "@id": "classes",
        "name": "classes",
        "description": "Findings by class index.",
        "dataType": "sc:Enumeration",
        "key": {"@id": "classes/index"},
        "field": fields,
        "data": data,
    }


def _splits(manifest: Manifest) -> list[dict[str, Any]]:
    return [
        {
            "@type": "cr:RecordSet",
            "@id": "splits",
            "name": "splits",
            "description": "Splits of the archive.",
            "dataType": "cr:Split",
            "key": {"@id": "splits/name"},
            "field": [_field("splits/name", "sc:Text", "Name of the split.")],
            "data": [{"splits/name": split} for split in manifest.splits],
        }
    ]


def _records(config: str, manifest: Manifest) -> dict[str, Any]:
    """A config: its columns, and the split that the name of a shard says."""
    name = CONFIG_NAMES[config]
    split = {
        **_field(f"{name}/split", "sc:Text", "The split an image belongs to."),
        "references": {"field": {"@id": "splits/name"}},
        "source": {
            "fileSet": {"@id": f"{config}-shards"},
            "extract": {"fileProperty": "filename"},
            "transform": {"regex": r"^(\w+)"},
        },
    }
    schema = schema_of(config, manifest).arrow_schema
    names = _identifiers(schema.names)
    columns = [_column(config, names[column.name], column, manifest.findings) for column in schema]
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": f"A row for every image: {'pixels, labels, scores' if config == DATA else 'how it came about'}.",
        "key": {"@id": f"{name}/image_id"},
        "field": [split, *columns],
    }


def _identifiers(columns: Sequence[str]) -> dict[str, str]:
    """Columns as parts of an `@id`, which the reference library wants without spaces; no two alike."""
    plain = {name: re.sub(r"[^\w.+-]", "_", name) for name in columns}
    taken = Counter(plain.values())
    return {
        name: found if taken[found] == 1 else f"{found}.{position}"
        for position, (name, found) in enumerate(plain.items())
    }


def _column(config: str, identifier: str, column: pa.Field, findings: Sequence[str]) -> dict[str, Any]:
    source: dict[str, Any] = {"fileSet": {"@id": f"{config}-shards"}, "extract": {"column": column.name}}
    more: dict[str, Any] = {}
    kind = column.type
    if pa.types.is_list(kind):
        kind, more = kind.value_type, {"isArray": True, "arrayShape": "-1"}
    if column.name == "image":
        source["transform"] = {"jsonPath": "bytes"}
    if column.name in ("label", "findings"):
        more["references"] = {"field": {"@id": "classes/index"}}
    if column.name == "image_id" and config != DATA:
        more["references"] = {"field": {"@id": f"{CONFIG_NAMES[DATA]}/image_id"}}
    about = _ABOUT.get(column.name) or _about(column.name, findings)
    name = f"{CONFIG_NAMES[config]}/{identifier}"
    return {**_field(name, _data_type(column.name, kind), about), **more, "source": source}


def _field(name: str, kind: str, about: str) -> dict[str, Any]:
    return {"@type": "cr:Field", "@id": name, "name": name, "description": about, "dataType": kind}


def _data_type(name: str, kind: pa.DataType) -> str:
    if name == "image":
        return "sc:ImageObject"
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    return "sc:Float" if pa.types.is_floating(kind) else "sc:Text"


def _about(name: str, findings: Sequence[str]) -> str:
    if name in findings:
        return f"{name}: true = asked for, false = its absence asked for, null = nobody asked, which is not absent."
    for prefix, role in ((GUIDE_PREFIX, "guide, which steered"), (JUDGE_PREFIX, "judge, which only measures")):
        if name.startswith(prefix):
            return f"Probability of {name.removeprefix(prefix)} for exactly these pixels, by the {role}."
    return name
