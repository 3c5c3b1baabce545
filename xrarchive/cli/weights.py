"""`xrarchive weights import`, `show` and `export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from xrarchive.cli.options import FILE, FOLDER, example, json_option, names
from xrarchive.cli.output import Result, emit, fields, say, table

if TYPE_CHECKING:
    from xrarchive.gan.adopt.layouts import Kind


@click.group()
def weights() -> None:
    """Import generators of other code, look into weight files, export generators for others."""


@weights.command(
    "import",
    epilog=example("xrarchive weights import Final_Full_Model.pth --kind segal2020 --grey --out segal.safetensors"),
)
@click.argument("checkpoint", metavar="FILE", type=FILE)
@click.option(
    "--kind",
    type=click.Choice(["segal2020", "gan-zoo", "pro-gan-pth"]),
    required=True,
    help="Whose code wrote it: BradSegal/CXR_PGGAN, facebookresearch/pytorch_GAN_zoo (PGAN) or pro-gan-pth.",
)
@click.option("--out", metavar="OUT", type=FILE, required=True, help="The snapshot to write.")
@click.option("--grey", is_flag=True, help="Fold three channels into one, their mean; archives need grey.")
@click.option("--sha256", metavar="HEX", help="What the checkpoint's must be.")
@click.option("--terms", metavar="NAME", type=names, help="Terms its radiographs came under, as for `ingest`.")
@json_option("out, sha256, kind, network, source_sha256, resolution, channels, latent_size, widths, nimg")
def import_(
    as_json: bool,
    checkpoint: Path,
    kind: Kind,
    out: Path,
    grey: bool,
    sha256: str | None,
    terms: tuple[str, ...] | None,
) -> None:
    """Turn a checkpoint of other code into a generator for `build`, with the same images.

    The pickle is opened in a process that cannot reach the network and has no secrets; nothing in it is run.
    """
    from xrarchive import pipeline

    emit(
        "weights-import",
        pipeline.import_weights(checkpoint, out, kind=kind, grey=grey, sha256=sha256, terms=terms or ()),
        fields,
        as_json=as_json,
    )


@weights.command(epilog=example("xrarchive weights show runs/generator/generator.safetensors"))
@click.argument("file", metavar="FILE", type=FILE)
@json_option("path, kind, role, sha256, settings, nimg, radiographs, terms, origin, networks, figures")
def show(as_json: bool, file: Path) -> None:
    """Say what a weight file holds: settings, origin, sizes and figures, of a generator or a classifier."""
    from xrarchive import pipeline

    emit("weights-show", pipeline.show_weights(file), _show, as_json=as_json)


@weights.command(epilog=example("xrarchive weights export runs/generator/generator.safetensors exported --onnx"))
@click.argument("file", metavar="FILE", type=FILE)
@click.argument("out", metavar="OUT", type=FOLDER)
@click.option("--onnx", is_flag=True, help='Also write generator.onnx (needs "xrarchive[onnx]").')
@json_option("out, files with their bytes, sha256 of the snapshot")
def export(as_json: bool, file: Path, out: Path, onnx: bool) -> None:
    """Write a generator as a folder that `PretrainedGenerator.from_pretrained` loads, and as ONNX."""
    from xrarchive import pipeline

    emit("weights-export", pipeline.export_weights(file, out, onnx=onnx), fields, as_json=as_json)


def _show(result: Result) -> None:
    fields(
        {name: result[name] for name in ("path", "kind", "role", "sha256", "nimg", "radiographs", "terms", "origin")}
    )
    say("")
    fields(result["settings"] or {})
    say("")
    sizes = [(name, found["parameters"], found["bytes"], found["dtypes"]) for name, found in result["networks"].items()]
    table(["network", "parameters", "bytes", "stored as"], sizes)
    if result["figures"]:
        say("")
        aurocs = [
            (name, _auroc(found, "cross_fitted"), _auroc(found, "test")) for name, found in result["figures"].items()
        ]
        table(["finding", "AUROC, cross-fitted", "AUROC, test"], aurocs)


def _auroc(figures: Result, name: str) -> float | None:
    found = figures.get(name)
    return found["value"] if found else None
