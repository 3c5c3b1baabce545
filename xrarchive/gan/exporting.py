"""Snapshots in forms that others read: a folder for `from_pretrained`, and ONNX.

In: a snapshot. Out: OUT/model.safetensors, config.json and README.md, and OUT/generator.onnx if asked for.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from xrarchive.errors import InputDataError, PlanChangedError, storage_errors
from xrarchive.files import TEMPORARY_PREFIX, fsync_folder
from xrarchive.gan.layers import kernels_ready
from xrarchive.gan.networks import Generator
from xrarchive.gan.pretrained import PretrainedGenerator
from xrarchive.gan.snapshots import GeneratorSnapshot, load_snapshot
from xrarchive.terms import licence_of, require_terms

ONNX_NAME = "generator.onnx"
_NO_TERMS = (
    "The radiographs behind these weights carry no recorded terms: ask whoever trained them before passing them on."
)
_ONNX_PACKAGES = ("onnx", "onnxscript")


@dataclass(frozen=True)
class ExportReport:
    """What was exported: the folder, its files with their sizes in bytes, and the snapshot they came from."""

    out: Path
    files: dict[str, int]
    sha256: str


def export_weights(path: Path, out: Path, *, onnx: bool = False) -> ExportReport:
    """Write a snapshot's generator as a folder that `PretrainedGenerator.from_pretrained` loads.

    Args:
        path: The snapshot.
        out: The folder, new or empty.
        onnx: Whether to write generator.onnx as well; see `write_onnx`.

    Raises:
        InputDataError: If there is no snapshot at `path`, or ONNX needs packages that are not installed.
        PlanChangedError: If `out` holds files.
        DamageError, StorageError: If the snapshot cannot be read, or the disk refuses.
    """
    if onnx:
        _require_onnx()
    snapshot = load_snapshot(path)
    with storage_errors(out):
        if out.exists() and any(out.iterdir()):
            raise PlanChangedError(f"{out} holds files already.", fix="Give a new or empty folder.", path=out)
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=out.parent))
        try:
            (temporary / "README.md").write_text(_readme(snapshot, path.name, onnx=onnx), encoding="utf-8")
            PretrainedGenerator.of(snapshot.generator).save_pretrained(temporary)
            if onnx:
                write_onnx(snapshot.generator, temporary / ONNX_NAME)
            temporary.chmod(0o755)  # mkdtemp's is for one user only
            temporary.replace(out)
            fsync_folder(out.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        files = {found.name: found.stat().st_size for found in sorted(out.iterdir())}
    return ExportReport(out, files, snapshot.sha256)


def write_onnx(generator: Generator, path: Path) -> None:
    """Write a generator as ONNX: `latents` float32 [batch, Z] -> `images` float32 [batch, C, px, px] in [-1, 1].

    Any batch; the kernels are stored as the operations take them. Other kernels than torch's compute the images, so
    that they agree to about 1e-5, not to the bit.

    Raises:
        InputDataError: If onnx or onnxscript is not installed.
    """
    _require_onnx()
    latents = torch.zeros(2, generator.settings.latent_size)
    with torch.no_grad(), kernels_ready(generator, torch.float32), _quietly():
        program = torch.onnx.export(
            generator.eval(),
            (latents,),
            input_names=["latents"],
            output_names=["images"],
            dynamic_shapes={"latents": {0: torch.export.Dim("batch")}},
            dynamo=True,
            verbose=False,
        )
        if program is None:
            raise RuntimeError("torch.onnx.export gave nothing")
        program.save(path, external_data=False)


def _require_onnx() -> None:
    missing = [name for name in _ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise InputDataError(
            f"ONNX needs {' and '.join(missing)}, which {'are' if len(missing) > 1 else 'is'} not installed.",
            fix='Run: pip install "xrarchive[onnx]"',
        )


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep the exporter's remarks about other packages and about itself off the screen."""
    exporter = logging.getLogger("torch.onnx")
    chatty = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = exporter.level, chatty.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            exporter.setLevel(logging.ERROR)
            chatty.setLevel(logging.ERROR)
            yield
        finally:
            exporter.setLevel(before[0])
            chatty.setLevel(before[1])


def _readme(snapshot: GeneratorSnapshot, name: str, *, onnx: bool) -> str:
    settings, terms = snapshot.settings, require_terms(snapshot.meta.get("terms", []))
    origin = snapshot.meta.get("origin")
    shown = f", {snapshot.meta['nimg']:,} images shown in training" if snapshot.meta.get("nimg") else ""
    came_from = f" It was imported from a {origin['kind']} checkpoint, sha256 `{origin['sha256']}`." if origin else ""
    licence = "\n".join(f"* {item.title} ({item.url}): {item.notice} Cite: {item.citation}" for item in terms)
    return f"""---
license: {licence_of(terms.name for terms in terms)}
library_name: xrarchive
pipeline_tag: unconditional-image-generation
tags: [synthetic, medical, radiology, chest-x-ray, progressive-gan, xrarchive]
---
# Generator of synthetic radiographs, {settings.resolution} px

A progressive GAN's averaged generator{shown}, exported from `{name}` (sha256 `{snapshot.sha256}`).{came_from}
**Not for clinical use**: the images show nobody.

```python
import torch
from xrarchive.gan.pretrained import PretrainedGenerator

generator = PretrainedGenerator.from_pretrained("FOLDER")  # this folder, or owner/name on the Hub
with torch.inference_mode():
    images = generator(torch.randn(4, {settings.latent_size}))  # float32 [4, {settings.channels}, px, px] in [-1, 1]
```
{_onnx_text(settings.latent_size) if onnx else ""}
## Terms

{licence or _NO_TERMS}
"""


def _onnx_text(latent_size: int) -> str:
    return f"\n`{ONNX_NAME}`: `latents` float32 [batch, {latent_size}] to `images`, the same to about 1e-5.\n"
