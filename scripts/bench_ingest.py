#!/usr/bin/env python3
"""Bytes to pixels: films per second and peak memory of ingest against a plain Pillow loop and torchxrayvision.

Generated 1024 px PNGs, whose noise compresses as films do, in the tree of NIH ChestX-ray14, and as many DICOM films as
--dicom says. Each way runs in a process of its own, so that its peak memory is its own (children included):

    ingest   xrarchive.ingest, size 64, all cores
    pillow   open, grey, resize, append: what a script does, one process
    pillow-all   the same in a process for each core: what this machine gives now, whatever else it does; not in the bar
    xrv      torchxrayvision.datasets.NIH_Dataset with its resizer, every item read once
    pydicom  pixel_array, window, resize: what a script does with DICOM

Processor seconds are told beside the clock's: on a machine with other work they say more.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
from PIL import Image

PX = 1024
BAR = 1.8
HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)


def main() -> None:
    arguments = parse()
    if arguments.way:
        print(json.dumps(run_here(arguments.way, arguments.work, arguments.images)))
        return
    print(machine())
    arguments.work.mkdir(parents=True, exist_ok=True)
    for count in arguments.images_list:
        make_tree(arguments.work / f"nih-{count}", count)
        compare(arguments.work, count, tuple(arguments.ways), arguments.rounds, "PNG")
    if arguments.dicom:
        make_dicom(arguments.work / f"dicom-{arguments.dicom}", arguments.dicom)
        compare(arguments.work, arguments.dicom, ("ingest-dicom", "pydicom"), arguments.rounds, "DICOM")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("bench-ingest"), help="folder for trees and sets")
    parser.add_argument("--images-list", type=int, nargs="+", default=[2000, 10_000], metavar="N")
    parser.add_argument("--dicom", type=int, default=500, metavar="N", help="DICOM films; 0 = none")
    parser.add_argument(
        "--ways", nargs="+", default=["ingest", "pillow", "pillow-all", "xrv"], help="of reading the PNGs"
    )
    parser.add_argument("--rounds", type=int, default=1, help="the best of")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--images", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def machine() -> str:
    from importlib.metadata import version

    names = ("pillow", "numpy", "pydicom", "torchxrayvision")
    return f"{os.cpu_count()} cores, {platform.machine()}, " + ", ".join(f"{name} {version(name)}" for name in names)


def compare(work: Path, count: int, ways: tuple[str, ...], rounds: int, kind: str) -> None:
    rates, processor = {}, {}
    for way in ways:
        found = min((run(work, way, count) for _ in range(rounds)), key=lambda one: one["seconds"])
        rates[way], processor[way] = count / found["seconds"], count / found["cpu_s"]
        print(
            f"{kind} {count:>6,}  {way:<12} {rates[way]:7.1f} films/s  {processor[way]:7.1f} films/cpu-s  "
            f"{found['peak_mb']:6.0f} MB",
            flush=True,
        )
    ours, others = ways[0], [way for way in ways[1:] if way != "pillow-all"]
    if not others:
        return
    fastest = max(rates[way] for way in others)
    word = "at least" if rates[ours] >= BAR * fastest else "UNDER"
    print(f"{kind} {count:>6,}  {rates[ours] / fastest:.2f} times the faster, {word} the bar of {BAR}", flush=True)


def run(work: Path, way: str, count: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--work", str(work), "--way", way, "--images", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def run_here(way: str, work: Path, count: int) -> dict[str, float]:
    tree = work / (f"dicom-{count}" if "dicom" in way else f"nih-{count}")
    run_way = {
        "ingest": ingest,
        "ingest-dicom": ingest,
        "pillow": pillow,
        "pillow-all": pillow_all,
        "xrv": xrv,
        "pydicom": pydicom_loop,
    }[way]
    started, used = time.perf_counter(), cpu_s()
    run_way(tree, work)
    seconds = time.perf_counter() - started
    # The largest child once for each core: they are alike, and the kernel tells only the largest.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (os.cpu_count() or 1)
    return {"seconds": seconds, "cpu_s": cpu_s() - used, "peak_mb": (peak + children) / 1024}


def cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def ingest(tree: Path, work: Path) -> None:
    from xrarchive.radiographs import ingest as run_ingest

    out = work / "set"
    shutil.rmtree(out, ignore_errors=True)
    run_ingest(tree, out, size_px=64)
    shutil.rmtree(out)


def pillow_all(tree: Path, work: Path) -> None:
    children = []
    for part in range(os.cpu_count() or 1):
        if not (child := os.fork()):
            pillow(tree, work, part, os.cpu_count() or 1)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def pillow(tree: Path, work: Path, part: int = 0, parts: int = 1) -> None:
    with (work / f"pillow-{part}.bin").open("wb") as stream:
        for path in sorted((tree / "images").iterdir())[part::parts]:
            with Image.open(path) as image:
                small = image.convert("L").resize((64, 64), Image.Resampling.BOX)
            stream.write(np.asarray(small).tobytes())


def xrv(tree: Path, work: Path) -> None:
    datasets = xrv_datasets()
    resize = datasets.XRayResizer(64)
    data = datasets.NIH_Dataset(
        imgpath=str(tree / "images"), csvpath=str(tree / "Data_Entry_2017_v2020.csv"), transform=resize,
        views=["PA", "AP"], unique_patients=False,
    )  # fmt: skip
    with (work / "xrv.bin").open("wb") as stream:
        for index in range(len(data)):
            stream.write(data[index]["img"].astype(np.float32).tobytes())


def xrv_datasets() -> types.ModuleType:
    """Its data sets without its networks and torchvision, which reading needs as little as we do."""
    folder = importlib.util.find_spec("torchxrayvision").submodule_search_locations  # type: ignore[union-attr]
    package = types.ModuleType("torchxrayvision")
    package.__path__ = list(folder or ())
    vision = types.ModuleType("torchvision")
    vision.transforms = types.ModuleType("torchvision.transforms")  # type: ignore[attr-defined]
    sys.modules |= {"torchxrayvision": package, "torchvision": vision, "torchvision.transforms": vision.transforms}
    importlib.import_module("torchxrayvision.utils")
    return importlib.import_module("torchxrayvision.datasets")


def pydicom_loop(tree: Path, work: Path) -> None:
    from pydicom import dcmread
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    with (work / "pydicom.bin").open("wb") as stream:
        for path in sorted((tree / "images").iterdir()):
            header = dcmread(path)
            shown = apply_voi_lut(apply_modality_lut(header.pixel_array, header), header)
            grey = np.clip(shown / 4095 * 255, 0, 255).astype(np.uint8)
            small = Image.fromarray(grey).resize((64, 64), Image.Resampling.BOX)
            stream.write(np.asarray(small).tobytes())


def make_film(index: int) -> np.ndarray:
    """uint8 [1024, 1024]: smooth shapes with grain, about 400 kB as PNG, as NIH's are."""
    rng = np.random.default_rng(index)
    coarse = Image.fromarray(rng.integers(40, 216, (24, 24), np.uint8)).resize((PX, PX), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(coarse) + rng.normal(0, 1.2, (PX, PX)), 0, 255).astype(np.uint8)


def make_tree(tree: Path, count: int) -> None:
    """Films as NIH publishes them; a hundred different ones, each under many names."""
    if (tree / "done").exists():
        return
    (tree / "images").mkdir(parents=True, exist_ok=True)
    lines = [HEADER]
    kinds = []
    for index in range(min(count, 100)):
        stream = io.BytesIO()
        Image.fromarray(make_film(index)).save(stream, "PNG")
        kinds.append(stream.getvalue())
    for index in range(count):
        name = f"{index // 4:08}_{index % 4:03}.png"
        (tree / "images" / name).write_bytes(kinds[index % len(kinds)])
        lines.append(f"{name},No Finding,000,{index // 4},58,M,PA,{PX},{PX},0.143,0.143")
    (tree / "Data_Entry_2017_v2020.csv").write_text("\n".join(lines) + "\n")
    (tree / "done").touch()


def make_dicom(tree: Path, count: int) -> None:
    """12-bit films of 1024 px with a window, listed in labels.csv."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    (tree / "images").mkdir(parents=True, exist_ok=True)
    lines = ["image,labels,patient_id"]
    for index in range(count):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = f"1.2.3.{index + 1}"
        data.Rows = data.Columns = PX
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
        data.WindowCenter, data.WindowWidth = 2048, 4096
        data.PixelData = (make_film(index % 20).astype(np.uint16) * 16).tobytes()
        data.save_as(tree / "images" / f"{index:06}.dcm", enforce_file_format=True)
        lines.append(f"images/{index:06}.dcm,No Finding,{index}")
    (tree / "labels.csv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
