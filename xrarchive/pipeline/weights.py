"""Weight files in, what they hold or the same in another form out: adopted from other code, exported for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xrarchive.records import OnStatus, ignore_status

if TYPE_CHECKING:
    from xrarchive.classifier.settings import Role
    from xrarchive.classifier.xrv_import import XrvReport
    from xrarchive.gan.adopt.adopting import AdoptionReport
    from xrarchive.gan.adopt.layouts import Kind
    from xrarchive.gan.exporting import ExportReport


def show_weights(path: Path) -> dict[str, Any]:
    """What a weight file holds; see `xrarchive.weights.describe_weights`."""
    from xrarchive.weights import describe_weights

    return describe_weights(path)


def import_weights(
    checkpoint: Path,
    out: Path,
    *,
    kind: Kind,
    grey: bool = False,
    sha256: str | None = None,
    terms: Sequence[str] = (),
) -> AdoptionReport:
    """Turn a checkpoint of other code into a snapshot; see `xrarchive.gan.adopt.adopting.adopt_weights`."""
    from xrarchive.gan.adopt.adopting import adopt_weights

    return adopt_weights(checkpoint, out, kind=kind, grey=grey, sha256=sha256, terms=terms)


def import_xrv(
    checkpoint: Path,
    out: Path,
    *,
    name: str,
    set_dir: Path,
    role: Role,
    sha256: str | None = None,
    on_status: OnStatus = ignore_status,
) -> XrvReport:
    """Turn weights of torchxrayvision into a classifier; see `xrarchive.classifier.xrv_import.import_xrv`."""
    from xrarchive.classifier import xrv_import
    from xrarchive.radiographs import open_set

    return xrv_import.import_xrv(
        checkpoint, out, name=name, role=role, radiographs=open_set(set_dir), sha256=sha256, on_status=on_status
    )


def export_weights(path: Path, out: Path, *, onnx: bool = False) -> ExportReport:
    """Write a snapshot for `from_pretrained`, and as ONNX; see `xrarchive.gan.exporting.export_weights`."""
    from xrarchive.gan import exporting

    return exporting.export_weights(path, out, onnx=onnx)
