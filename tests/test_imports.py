"""Which module may import which: the waist stays free of torch, the library free of the command line."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import xrarchive

ROOT = Path(xrarchive.__file__).parent
# Left of the waist: knows torch, knows nothing of archives.
LEFT = ("gan", "classifier", "latents", "synthesis", "features", "weights", "units", "trials")
LEFT += ("reidentification", "membership")
LEFT_WITHOUT_TORCH = ("gan.settings", "gan.stats", "gan.curves", "classifier.settings", "classifier.offering")
# Right of the waist: knows archives, never imports torch.
RIGHT = ("archive", "validation", "reporting", "cards", "hub")
# May import both, inside their functions only.
WIRING = ("pipeline", "pretrained", "xrv", "building", "regenerating", "validating", "doctor", "cli", "__main__", "")


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def belongs(name, groups):
    return any(name == group or (group and name.startswith(f"{group}.")) for group in groups)


def imported(tree):
    """Every module named in an import statement, wherever it stands, but for those made for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "absolute imports only"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from imported(node)


IMPORTS = {name: sorted(set(imported(ast.parse(path.read_bytes())))) for name, path in MODULES.items()}


def ours(name):
    """What a module imports of xrarchive, as module names."""
    for target in IMPORTS[name]:
        if target.startswith("xrarchive."):
            inner = target.removeprefix("xrarchive.")
            yield inner if inner in MODULES else inner.rpartition(".")[0]


def outside(name):
    return {target.partition(".")[0] for target in IMPORTS[name]} - {"xrarchive"}


@pytest.mark.parametrize("name", [name for name in MODULES if not belongs(name, ("cli",))])
def test_only_the_command_line_knows_click_and_rich(name):
    assert not outside(name) & {"click", "rich"}
    if name != "__main__":
        assert not [target for target in ours(name) if belongs(target, ("cli",))]


@pytest.mark.parametrize("name", [name for name in MODULES if belongs(name, LEFT)])
def test_left_of_the_waist_knows_no_archive(name):
    assert not [target for target in ours(name) if belongs(target, (*RIGHT, "pipeline"))]


TORCH_FREE = [n for n in MODULES if not belongs(n, (*LEFT, *WIRING)) or n in LEFT_WITHOUT_TORCH]


@pytest.mark.parametrize("name", TORCH_FREE)
def test_the_waist_and_all_right_of_it_never_import_torch(name):
    assert "torch" not in outside(name)
    left = [target for target in ours(name) if belongs(target, LEFT) and target not in LEFT_WITHOUT_TORCH]
    assert not left
    assert not [target for target in ours(name) if belongs(target, ("pipeline",))]


@pytest.mark.parametrize("name", ["blocks", "numbers", "plots", "page"])
def test_what_draws_pages_knows_nothing_of_what_they_are_about(name):
    assert {target.partition(".")[0] for target in ours(f"reporting.{name}")} <= {"reporting"}


@pytest.mark.parametrize("name", [name for name in MODULES if belongs(name, ("cli",))])
def test_commands_go_through_the_pipeline(name):
    allowed = ("cli", "pipeline", "settings", "tables", "errors", "records", "doctor", "findings", "validation.summary")
    allowed += ("study.models", "study.protocol")
    strangers = [t for t in ours(name) if t and not belongs(t, (*allowed, *LEFT_WITHOUT_TORCH))]
    assert not strangers


def python(script):
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_and_every_torch_free_module_loads_no_torch():
    imports = "\n".join(f"import xrarchive.{name}" for name in TORCH_FREE if name and name != "__main__")
    more = "\nimport xrarchive.pipeline" if "pipeline" in MODULES else ""
    python(f"import sys, xrarchive\n{imports}{more}\nassert 'torch' not in sys.modules")


def test_importing_the_package_alone_is_cheap():
    python("import sys, xrarchive\nassert not {'torch', 'numpy', 'click'} & set(sys.modules)")


def test_public_names():
    assert xrarchive.__all__[:4] == ["ingest", "train_generator", "train_classifier", "build"]
    assert set(xrarchive.__all__) <= set(dir(xrarchive))
    assert xrarchive.__version__
    with pytest.raises(AttributeError, match="no attribute 'bild'"):
        _ = xrarchive.bild


def test_public_functions_are_those_of_the_pipeline():
    pipeline = pytest.importorskip("xrarchive.pipeline")
    for name in xrarchive.__all__:
        if name not in {"__version__", "Generator", "Classifier"}:
            assert getattr(xrarchive, name) is getattr(pipeline, name)
    pretrained = pytest.importorskip("xrarchive.pretrained")
    assert (xrarchive.Generator, xrarchive.Classifier) == (pretrained.Generator, pretrained.Classifier)


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is_for(name):
    assert ast.get_docstring(ast.parse(MODULES[name].read_bytes()))
