"""`xrarchive weights`: what reaches the pipeline, what is printed."""

from pathlib import Path

import pytest

IMPORTED = {"out": Path("g.safetensors"), "sha256": "ab" * 32, "kind": "segal2020", "resolution": 1024, "nimg": 0}
SHOWN = {
    "path": Path("g.safetensors"),
    "kind": "classifier",
    "role": "guide",
    "sha256": "ab" * 32,
    "settings": {"members": 2},
    "nimg": None,
    "radiographs": 1206,
    "terms": ["mednist"],
    "origin": None,
    "networks": {"member0": {"parameters": 1234, "bytes": 4936, "dtypes": ["float32"]}},
    "figures": {"Effusion": {"cross_fitted": {"value": 0.81}, "test": None}},
}
EXPORTED = {"out": Path("out"), "files": {"config.json": 150}, "sha256": "ab" * 32}


@pytest.fixture(autouse=True)
def weights(pipeline):
    for name, result in (("import_weights", IMPORTED), ("show_weights", SHOWN), ("export_weights", EXPORTED)):
        pipeline.results[name] = result
        setattr(pipeline, name, pipeline._recorder(name))


def test_import(run_json, pipeline):
    code, found = run_json("weights import a.pth --kind segal2020 --grey --sha256 00 --out g.safetensors")
    assert (code, found["schema"], found["resolution"]) == (0, "xrarchive.weights-import/1", 1024)
    wanted = {"kind": "segal2020", "grey": True, "sha256": "00", "terms": ()}
    assert pipeline.calls == [("import_weights", (Path("a.pth"), Path("g.safetensors")), wanted)]


@pytest.mark.parametrize("line", ["weights import a.pth --out b", "weights import a.pth --out b --kind other"])
def test_import_needs_a_kind_it_knows(run, line):
    assert run(line).exit_code == 2


def test_show(run, run_json):
    stdout = run("weights show g.safetensors").stdout
    for text in ("guide", "member0", "1,234", "4,936", "float32", "Effusion", "0.81", "mednist"):
        assert text in stdout
    assert run_json("weights show g.safetensors")[1]["networks"]["member0"]["bytes"] == 4936


def test_export(run_json, pipeline):
    assert run_json("weights export g.safetensors out --onnx")[1]["files"] == {"config.json": 150}
    assert pipeline.calls == [("export_weights", (Path("g.safetensors"), Path("out")), {"onnx": True})]
