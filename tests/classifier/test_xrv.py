"""The adapter against torchxrayvision's own DenseNet, seeded and saved as theirs are; their weights are not here."""

from __future__ import annotations

import builtins
import dataclasses
import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from xrarchive import pipeline
from xrarchive.classifier import xrv, xrv_import
from xrarchive.classifier.classifier import load_classifier
from xrarchive.classifier.settings import LEVELS, ClassifierSettings
from xrarchive.classifier.xrv_import import TRAINED_ON, XrvReport, import_xrv, match_heads
from xrarchive.errors import InputDataError, PlanChangedError
from xrarchive.findings import NIH_VOCABULARY
from xrarchive.gan.adopt import child, pickles
from xrarchive.gan.adopt.pickles import open_checkpoint
from xrarchive.radiographs import RadiographSet, open_set
from xrarchive.weights import load_weights, read_meta, without_prefix

NIH, PC, RSNA, ALL, CHEX = (f"densenet121-res224-{name}" for name in ("nih", "pc", "rsna", "all", "chex"))
SETTINGS = ClassifierSettings(min_positives=8, specificity=0.6)
CLOSE = {"atol": 1e-4, "rtol": 0.0}


@pytest.fixture(scope="module", autouse=True)
def models() -> Any:
    """torchxrayvision.models, also where torchvision's native part does not load: a DenseNet needs nothing of it.

    That is so where torch is built for processors and torchvision comes from an index that has only the other build.
    """
    try:
        return xrv.require_xrv()
    except InputDataError as err:
        if not isinstance(err.__cause__, RuntimeError):
            raise
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return xrv.require_xrv()


@pytest.fixture(autouse=True)
def here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the child's functions run in this process, and images be small, but for tests of either."""
    if "in_earnest" in request.fixturenames:
        return

    def run(path: Path, stream: Any, kind: str, folder: str) -> None:
        try:
            child.extract(kind, stream, folder, apart=True)
        except child.RefusedError as refused:
            raise pickles._refused(path, kind, str(refused)) from None

    monkeypatch.setattr(pickles, "_run_child", run)
    monkeypatch.setattr(xrv, "INPUT_PX", 32)


@pytest.fixture
def in_earnest() -> None:
    """The pickle is opened in a process of its own, images are of 224 px."""


@pytest.fixture(scope="module")
def theirs(models: Any) -> Any:
    """Their DenseNet with seeded weights and the statistics of seeded images, so that logits are of usual size."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(3)
        network = models.DenseNet(num_classes=18)
        norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = None
        network.train()(images(8, 64) * 1024)
        for norm in norms:
            norm.momentum = 0.1
        network.classifier.bias.normal_()
    return network.eval()


@pytest.fixture(scope="module")
def file(theirs: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their file: the whole model, pickled."""
    path = tmp_path_factory.mktemp("xrv") / "nih.pt"
    torch.save(theirs, path)
    return path


@pytest.fixture
def radiographs(tiny_set: Path) -> RadiographSet:
    return open_set(tiny_set)


@pytest.fixture
def import_(file: Path, radiographs: RadiographSet, tmp_path: Path) -> Callable[..., XrvReport]:
    def run(path: Path = file, **changes: Any) -> XrvReport:
        values = {"name": NIH, "role": "guide", "radiographs": radiographs, "settings": SETTINGS}
        return import_xrv(path, tmp_path / "out.safetensors", **(values | changes))

    return run


def images(count: int, px: int) -> Tensor:
    return torch.rand(count, 1, px, px, generator=torch.Generator().manual_seed(5)) * 2 - 1


def with_settings(radiographs: RadiographSet, **settings: object) -> RadiographSet:
    meta = radiographs.meta | {"settings": radiographs.meta["settings"] | settings}
    return dataclasses.replace(radiographs, meta=meta)


def test_raw_logits_are_theirs(models: Any, theirs: Any, file: Path, in_earnest: None) -> None:  # noqa: ARG001
    labels = models.model_urls[NIH]["labels"]
    heads = match_heads(NIH_VOCABULARY, labels)
    network = xrv_import._network(open_checkpoint(file, kind="xrv"), heads, len(labels), file)
    given = images(2, 224)
    with torch.no_grad():
        wanted = theirs(given * 1024)  # op_threshs None, apply_sigmoid False: raw
        torch.testing.assert_close(network.features(given), theirs.features2(given * 1024), **CLOSE)
        made = network(given)
    assert wanted.std() > 0.1
    for row, finding in enumerate(NIH_VOCABULARY[1:], 1):
        torch.testing.assert_close(made[:, row], wanted[:, labels.index(finding)], **CLOSE)
    absent = torch.sigmoid(-wanted[:, [labels.index(finding) for finding in NIH_VOCABULARY[1:]]].double()).prod(dim=1)
    torch.testing.assert_close(made[:, 0].double(), torch.logit(absent), **CLOSE)


def test_other_sizes_are_resized_as_they_resize(theirs: Any) -> None:
    network, given = xrv.XrvNetwork(18), images(2, 40)
    network.densenet.load_state_dict(theirs.state_dict())
    network.headed.fill_(1)
    resized = torch.nn.functional.interpolate(given, size=(32, 32), mode="bilinear", antialias=True)
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(given)[:, 1:], theirs(resized * 1024)[:, 1:], **CLOSE)


def test_gradients_flow_to_the_images_through_heads_only(import_: Callable[..., XrvReport]) -> None:
    network = load_classifier(import_(name=CHEX).out).networks[0]  # knows Effusion, but no Mass
    for row, flows in enumerate([True, True, False]):
        given = images(2, 16).requires_grad_()
        network(given)[:, row].sum().backward()
        assert bool((given.grad.abs().amax(dim=(1, 2, 3)) > 0).all()) == flows  # type: ignore[union-attr]
        assert torch.isfinite(given.grad).all()  # type: ignore[arg-type]


def test_absence_is_that_of_independent_findings() -> None:
    logits = torch.tensor([[-3.0, 0.5, 9.0], [-40.0, -30.0, 0.0], [60.0, 80.0, 1.0]], dtype=torch.float64)
    found = xrv.absence(logits, torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64))[:, 0]
    none = torch.sigmoid(-logits[:, 0]) * torch.sigmoid(-logits[:, 1])
    assert found[0].item() == pytest.approx(torch.logit(none)[0].item())
    assert found[2].item() == pytest.approx(-140)
    wide = xrv.absence(torch.full((1, 2), -200.0, requires_grad=True), torch.ones(2))
    assert torch.isfinite(wide).all()


def test_the_file_is_a_classifier_like_any_other(
    import_: Callable[..., XrvReport], file: Path, radiographs: RadiographSet
) -> None:
    told: list[Any] = []
    report = import_(on_status=told.append)
    guide = load_classifier(report.out, role="guide")
    assert (guide.sha256, guide.vocabulary, guide.nuisances) == (report.sha256, radiographs.vocabulary, ())
    assert (guide.size_px, guide.input_px, len(guide.networks)) == (16, 32, 1)
    assert guide.quantiles.shape == (3, len(LEVELS))
    assert guide.meta["settings"]["architecture"] == "xrv-densenet121"
    assert guide.meta["figures"] == report.figures
    assert guide.meta["patients"] == []
    assert guide.meta["origin"] == {
        "kind": "xrv",
        "name": NIH,
        "file": "nih.pt",
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "trained_on": ["nih-chestxray14"],
        "in_sample": False,
        "without_head": [],
    }
    assert report.callable == radiographs.vocabulary
    labelled = radiographs.rows("train", "validation", "test")
    assert guide.meta["radiographs"] == report.radiographs == told[-1].done == told[-1].total == len(labelled)
    outputs = guide.outputs(radiographs.pixels[labelled])
    np.testing.assert_allclose(np.quantile(outputs, LEVELS, axis=0).T, guide.quantiles, atol=1e-4)
    negative = radiographs.labels[labelled, 1] == 0
    called = guide.scores(radiographs.pixels[labelled])[negative, 1] >= guide.threshold("Effusion")
    assert called.mean() == pytest.approx(1 - SETTINGS.specificity, abs=0.03)


def test_it_writes_what_the_trainer_writes(import_: Callable[..., XrvReport], tiny_guide: Path) -> None:
    ours, trained = (read_meta(path, kind="classifier") for path in (import_().out, tiny_guide))
    assert set(ours) - set(trained) == {"origin"}
    assert not set(trained) - set(ours)
    assert set(ours["settings"]) == set(trained["settings"])
    assert set(ours["figures"]["Mass"]) == set(trained["figures"]["Mass"])


def test_a_finding_without_a_head_cannot_be_called(import_: Callable[..., XrvReport]) -> None:
    report = import_(name=CHEX)
    classifier = load_classifier(report.out)
    assert (report.callable, report.without_head) == (("No Finding", "Effusion"), ("Mass",))
    assert np.isnan(classifier.thresholds).tolist() == [False, False, True]
    assert not classifier.logits(images(2, 16))[:, 2].any()


def test_thresholds_need_positives(import_: Callable[..., XrvReport]) -> None:
    report = import_(settings=ClassifierSettings())
    assert report.callable != ("No Finding", "Effusion", "Mass")
    assert report.without_head == ()


@pytest.mark.parametrize("form", ["state dict", "within", "with op_threshs", "torch before 1.6"])
def test_other_forms_of_the_same_weights(
    form: str, theirs: Any, models: Any, tmp_path: Path, import_: Callable[..., XrvReport]
) -> None:
    path, more = tmp_path / "other.pt", {}
    saved: Any = {"state dict": theirs.state_dict(), "within": {"state_dict": theirs.state_dict()}}.get(form, theirs)
    if form == "with op_threshs":
        saved = models.DenseNet(num_classes=18, op_threshs=torch.rand(18))
        saved.load_state_dict(theirs.state_dict(), strict=False)
    if form == "torch before 1.6":
        more = {"_use_new_zipfile_serialization": False}
    torch.save(saved, path, **more)
    member = without_prefix("member0.densenet", load_weights(import_(path).out, kind="classifier").tensors)
    for name, tensor in theirs.state_dict().items():
        if tensor.dim() and not name.startswith("classifier"):
            assert torch.equal(member[name], tensor)


def test_heads_are_found_by_name() -> None:
    pathologies = ["Effusion", "Pleural_Thickening", "", "Lung Opacity"]
    vocabulary = ("No Finding", "Lung_Opacity", "Mass", "pleural thickening", "Effusion")
    assert match_heads(vocabulary, pathologies) == [None, 3, None, 1, 0]


def test_names_are_theirs(models: Any) -> None:
    assert set(TRAINED_ON) == {name for name in models.model_urls if name.startswith("densenet")}


@pytest.mark.parametrize(
    ("name", "role", "terms", "message"),
    [
        (ALL, "judge", (), "cannot be a judge.*all public sets"),
        (ALL, "referee", (), "cannot be a referee"),
        (NIH, "judge", ("nih-chestxray14",), "would not be independent"),
        (RSNA, "referee", ("nih-chestxray14",), "would not be independent"),
        ("densenet121-res224-pcc", "judge", (), "nearest known one is 'densenet121-res224-pc'"),
        ("resnet50-res512-all", "judge", (), "has no DenseNet called"),
    ],
)
def test_weights_that_cannot_serve_are_refused_before_anything_is_opened(
    import_: Callable[..., XrvReport], radiographs: RadiographSet, name: str, role: str, terms: Any, message: str
) -> None:
    with pytest.raises(InputDataError, match=message):
        import_(Path("nowhere.pt"), name=name, role=role, radiographs=with_settings(radiographs, terms=terms))


def test_independent_judges_and_any_guide_are_taken(
    import_: Callable[..., XrvReport], radiographs: RadiographSet
) -> None:
    nih = with_settings(radiographs, terms=["nih-chestxray14"])
    for name, role in ((PC, "judge"), (ALL, "guide")):
        report = import_(name=name, role=role, radiographs=nih)
        assert load_classifier(report.out, role=role).meta["origin"]["in_sample"] == (name == ALL)  # type: ignore[arg-type]
        report.out.unlink()


def test_a_set_without_labels_is_refused(
    import_: Callable[..., XrvReport], radiographs: RadiographSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlabelled = np.full((len(radiographs), 3), np.nan, np.float32)
    bare = with_settings(radiographs)
    monkeypatch.setitem(bare.__dict__, "labels", unlabelled)
    with pytest.raises(InputDataError, match="no labelled radiographs"):
        import_(radiographs=bare)


def test_weights_that_know_none_of_the_findings_are_refused(
    import_: Callable[..., XrvReport], radiographs: RadiographSet
) -> None:
    with pytest.raises(InputDataError, match="has a head for none of the set's findings"):
        import_(name=RSNA, radiographs=radiographs)


def test_the_sha256_is_checked(import_: Callable[..., XrvReport], file: Path) -> None:
    with pytest.raises(InputDataError, match="has the sha256"):
        import_(sha256="00" * 32)
    assert import_(sha256=hashlib.sha256(file.read_bytes()).hexdigest())
    with pytest.raises(PlanChangedError, match="is there already"):
        import_()


def lacking(state: dict[str, Any]) -> None:
    del state["features.conv0.weight"]


def surplus(state: dict[str, Any]) -> None:
    state["fc.weight"] = torch.zeros(2, 2)


def fewer_heads(state: dict[str, Any]) -> None:
    state["classifier.weight"] = state["classifier.weight"][:14]


def not_a_number(state: dict[str, Any]) -> None:
    state["features.norm0.bias"] = torch.full((64,), float("nan"))


def of_another_model(state: dict[str, Any]) -> None:
    state.clear()
    state["conv1.weight"] = torch.zeros(2, 2)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lacking, r"1 missing \(features\.conv0\.weight\)"),
        (surplus, r"1 unexpected \(fc\.weight\)"),
        (fewer_heads, r"classifier\.weight as \[14, 1024\] instead of \[18, 1024\]"),
        (not_a_number, "holds NaN"),
        (of_another_model, "its entries are conv1.weight"),
    ],
)
def test_files_of_another_network_are_refused(
    import_: Callable[..., XrvReport], theirs: Any, tmp_path: Path, spoil: Any, message: str
) -> None:
    state = dict(theirs.state_dict())
    spoil(state)
    torch.save(state, tmp_path / "spoilt.pt")
    with pytest.raises(InputDataError, match=message):
        import_(tmp_path / "spoilt.pt")
    assert not (tmp_path / "out.safetensors").exists()


def test_a_model_that_holds_itself_is_refused(import_: Callable[..., XrvReport], models: Any, tmp_path: Path) -> None:
    network = models.DenseNet(num_classes=18, block_config=(1,), num_init_features=8)
    network.features._modules["again"] = network
    torch.save(network, tmp_path / "loop.pt")
    with pytest.raises(InputDataError, match="stands in more than one place"):
        import_(tmp_path / "loop.pt")


class Canary:
    """Unpickled with plain pickle, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("old_format", [False, True])
def test_a_model_whose_pickle_would_run_something_is_not_run(
    models: Any,
    tmp_path: Path,
    import_: Callable[..., XrvReport],
    old_format: bool,
    in_earnest: None,  # noqa: ARG001
) -> None:
    network = models.DenseNet(num_classes=18, block_config=(1,), num_init_features=8)
    network.pathologies = Canary(tmp_path / "canary")
    torch.save(network, tmp_path / "bad.pt", _use_new_zipfile_serialization=not old_format)
    with pytest.raises(InputDataError, match=r"its pickle names (posix|nt)\.system"):
        import_(tmp_path / "bad.pt")
    assert not (tmp_path / "canary").exists()


def test_their_classes_are_known_for_xrv_only(file: Path) -> None:
    with pytest.raises(InputDataError, match=r"names torchxrayvision\.models\.DenseNet"):
        open_checkpoint(file, kind="segal2020")


@pytest.mark.slow
def test_the_whole_way_in_earnest(
    file: Path,
    tiny_set: Path,
    tmp_path: Path,
    in_earnest: None,  # noqa: ARG001
) -> None:
    report = pipeline.import_xrv(file, tmp_path / "g.safetensors", name=NIH, set_dir=tiny_set, role="guide")
    guide = load_classifier(report.out, role="guide")
    given = images(2, 16).requires_grad_()
    guide.logits(given).sum().backward()
    assert guide.input_px == 224
    assert given.grad is not None
    assert given.grad.abs().sum() > 0


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchxrayvision", None)
    with pytest.raises(InputDataError, match="not installed: torchxrayvision") as caught:
        xrv.XrvNetwork(3)
    assert "xrarchive[xrv]" in caught.value.fix


def test_so_is_a_torchvision_of_another_build(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = builtins.__import__

    def fail(name: str, *rest: Any, **more: Any) -> Any:
        if name == "torchxrayvision":
            raise RuntimeError("operator torchvision::nms does not exist")
        return plain(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", fail)
    with pytest.raises(InputDataError, match="torchvision::nms") as caught:
        xrv.require_xrv()
    assert "one index" in caught.value.fix
