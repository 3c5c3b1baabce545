"""`xrarchive weights`: what reaches the pipeline, what is printed."""

from pathlib import Path

import pytest

IMPORTED = {"out": Path("g.safetensors"), "sha256": "ab" * 32, "kind": "segal2020", "resolution": 1024, "nimg": 0}
XRV = {
    "out": Path("guide.safetensors"),
    "sha256": "ab" * 32,
    "role": "guide",
    "name": "densenet121-res224-nih",
    "source_sha256": "cd" * 32,
    "radiographs": 4321,
    "callable": ("No Finding", "Effusion"),
    "without_head": ("Opacity",),
    "figures": {"Effusion": {"cross_fitted": {"value": 0.81}, "test": None}},
}
OF_XRV = "--name densenet121-res224-nih --radiographs sets/nih --role guide"
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
    results = {"import_weights": IMPORTED, "import_xrv": XRV, "show_weights": SHOWN, "export_weights": EXPORTED}
    for name, result in results.items():
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


def test_import_of_xrv(run, run_json, pipeline):
    code, found = run_json(f"weights import a.pt --kind xrv {OF_XRV} --sha256 00 --out guide.safetensors")
    assert (code, found["schema"], found["without_head"]) == (0, "xrarchive.weights-import-xrv/1", ["Opacity"])
    ((name, paths, more),) = pipeline.calls
    assert (name, paths) == ("import_xrv", (Path("a.pt"), Path("guide.safetensors")))
    assert callable(more.pop("on_status"))
    assert more == {
        "name": "densenet121-res224-nih",
        "set_dir": Path("sets/nih"),
        "role": "guide",
        "sha256": "00",
    }
    stdout = run(f"weights import a.pt --kind xrv {OF_XRV} --out guide.safetensors").stdout
    for text in ("densenet121-res224-nih", "4,321", "Opacity", "Effusion", "0.81"):
        assert text in stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--kind xrv", "--kind xrv needs --name, --radiographs, --role"),
        (f"--kind xrv {OF_XRV} --grey", "--kind xrv takes no --grey"),
        (f"--kind xrv {OF_XRV} --terms mednist", "--kind xrv takes no --terms"),
        ("--kind segal2020 --role guide", "--kind segal2020 takes no --role"),
    ],
)
def test_import_options_belong_to_a_kind(run, pipeline, options, message):
    done = run(f"weights import a.pt --out b {options}")
    assert done.exit_code == 2
    assert message in done.stderr
    assert not pipeline.calls


def test_show(run, run_json):
    stdout = run("weights show g.safetensors").stdout
    for text in ("guide", "member0", "1,234", "4,936", "float32", "Effusion", "0.81", "mednist"):
        assert text in stdout
    assert run_json("weights show g.safetensors")[1]["networks"]["member0"]["bytes"] == 4936


def test_export(run_json, pipeline):
    assert run_json("weights export g.safetensors out --onnx")[1]["files"] == {"config.json": 150}
    assert pipeline.calls == [("export_weights", (Path("g.safetensors"), Path("out")), {"onnx": True})]
