"""`xrarchive weights import`, `show` and `export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from xrarchive.classifier.settings import ROLES
from xrarchive.cli.options import FILE, FOLDER, example, json_option, names
from xrarchive.cli.output import Result, emit, fields, say, table
from xrarchive.cli.progress import progress

if TYPE_CHECKING:
    from xrarchive.classifier.settings import Role
    from xrarchive.gan.adopt.layouts import Kind


@click.group()
def weights() -> None:
    """Import weights of other code, look into weight files, export generators for others."""


@weights.command(
    "import",
    epilog=example(
        "xrarchive weights import Final_Full_Model.pth --kind segal2020 --grey --out segal.safetensors",
        "xrarchive weights import nih.pt --kind xrv --name densenet121-res224-nih --radiographs sets/nih --role guide "
        "--out guide.safetensors",
    ),
)
@click.argument("checkpoint", metavar="FILE", type=FILE)
@click.option(
    "--kind",
    type=click.Choice(["segal2020", "gan-zoo", "pro-gan-pth", "xrv"]),
    required=True,
    help="Whose code wrote it: BradSegal/CXR_PGGAN, facebookresearch/pytorch_GAN_zoo (PGAN), pro-gan-pth, or "
    'torchxrayvision (a DenseNet; needs "xrarchive[xrv]").',
)
@click.option("--out", metavar="OUT", type=FILE, required=True, help="The weight file to write.")
@click.option("--grey", is_flag=True, help="Fold three channels into one, their mean; archives need grey.")
@click.option("--sha256", metavar="HEX", help="What the checkpoint's must be.")
@click.option("--terms", metavar="NAME", type=names, help="Terms its radiographs came under, as for `ingest`.")
@click.option("--name", metavar="NAME", help="xrv: what torchxrayvision calls the weights, densenet121-res224-…")
@click.option("--radiographs", metavar="SET", type=FOLDER, help="xrv: labelled set to calibrate on.")
@click.option("--role", type=click.Choice(ROLES), help="xrv: what the classifier is for.")
@json_option(
    "out, sha256, kind, network, source_sha256, resolution, channels, latent_size, widths, nimg; of xrv: out, sha256, "
    "role, name, source_sha256, radiographs, callable, without_head, figures"
)
def import_(
    as_json: bool,
    checkpoint: Path,
    kind: Kind | Literal["xrv"],
    out: Path,
    grey: bool,
    sha256: str | None,
    terms: tuple[str, ...] | None,
    **of_xrv: Any,
) -> None:
    """Turn a checkpoint of other code into a generator for `build`, with the same images, or into a classifier.

    The pickle is opened in a process that cannot reach the network and has no secrets; nothing in it is run.
    """
    from xrarchive import pipeline

    _require_options(kind, {"grey": grey or None, "terms": terms}, of_xrv)
    if kind == "xrv":
        role: Role = of_xrv["role"]
        with progress("weights import") as on_status:
            imported = pipeline.import_xrv(
                checkpoint,
                out,
                name=of_xrv["name"],
                set_dir=of_xrv["radiographs"],
                role=role,
                sha256=sha256,
                on_status=on_status,
            )
        emit("weights-import-xrv", imported, _show_imported, as_json=as_json)
        return
    report = pipeline.import_weights(checkpoint, out, kind=kind, grey=grey, sha256=sha256, terms=terms or ())
    emit("weights-import", report, fields, as_json=as_json)


def _require_options(kind: str, of_generators: dict[str, Any], of_xrv: dict[str, Any]) -> None:
    wanted, unwanted = (of_xrv, of_generators) if kind == "xrv" else ({}, of_xrv)
    if missing := [f"--{name}" for name, value in wanted.items() if value is None]:
        raise click.UsageError(f"--kind {kind} needs {', '.join(missing)}.")
    if surplus := [f"--{name}" for name, value in unwanted.items() if value is not None]:
        raise click.UsageError(f"--kind {kind} takes no {', '.join(surplus)}.")


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


def _show_imported(result: Result) -> None:
    names = ("out", "sha256", "role", "name", "source_sha256", "radiographs", "callable", "without_head")
    fields({name: result[name] for name in names})
    _show_figures(result["figures"])


def _show(result: Result) -> None:
    fields(
        {name: result[name] for name in ("path", "kind", "role", "sha256", "nimg", "radiographs", "terms", "origin")}
    )
    say("")
    fields(result["settings"] or {})
    say("")
    sizes = [(name, found["parameters"], found["bytes"], found["dtypes"]) for name, found in result["networks"].items()]
    table(["network", "parameters", "bytes", "stored as"], sizes)
    _show_figures(result["figures"])


def _show_figures(figures: dict[str, Result]) -> None:
    if figures:
        say("")
        aurocs = [(name, _auroc(found, "cross_fitted"), _auroc(found, "test")) for name, found in figures.items()]
        table(["finding", "AUROC, cross-fitted", "AUROC, test"], aurocs)


def _auroc(figures: Result, name: str) -> float | None:
    found = figures.get(name)
    return found["value"] if found else None
