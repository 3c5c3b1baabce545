"""An archive as a torchxrayvision user wants it, with the installed torchxrayvision and random weights."""

import numpy as np
import pytest
from made_archive import make_archive

from xrarchive.archive.changing import split
from xrarchive.archive.reader import read_pixels, read_table
from xrarchive.errors import InputDataError
from xrarchive.xrv import PATHOLOGIES, ArchiveDataset


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = make_archive(tmp_path_factory.mktemp("made") / "archive")
    split(folder, {"train": 0.5, "test": 0.5})
    return folder


@pytest.fixture(scope="module")
def dataset(archive):
    return ArchiveDataset(archive)


@pytest.fixture
def xrv(_torchvision):
    """torchxrayvision, which on import silences warnings for good."""
    return pytest.importorskip("torchxrayvision")


def test_images_in_their_range(archive, dataset):
    sample = dataset[3]
    assert (sample["img"].dtype, sample["img"].shape) == (np.float32, (1, 12, 12))
    pixels = read_pixels(archive)[3].astype(np.float64)
    assert np.allclose(sample["img"][0], pixels / 255 * 2048 - 1024, atol=1e-3)
    assert (sample["idx"], len(dataset)) == (3, 9)


def test_labels_are_one_zero_and_unknown(archive, dataset):
    table = read_table(archive)
    assert dataset.labels.shape == (9, len(PATHOLOGIES))
    normal = np.array(table["No Finding"].to_pylist()) == True  # noqa: E712  (None is neither)
    mass = dataset.labels[:, PATHOLOGIES.index("Mass")]
    assert np.array_equal(mass == 1, [value is True for value in table["Mass"].to_pylist()])
    assert np.array_equal(mass == 0, normal)
    assert np.isnan(dataset.labels[:, PATHOLOGIES.index("Hernia")]).all()
    assert dataset.totals()["Mass"] == {1.0: 6, 0.0: 3}


def test_what_no_finding_says_may_be_left_open(archive):
    labels = ArchiveDataset(archive, no_finding="unknown").labels
    assert np.nansum(labels == 0) == 3  # the absence of Pleural_Thickening was asked for
    assert np.nansum(labels[:, PATHOLOGIES.index("Pleural_Thickening")] == 0) == 3


def test_one_split_a_version_and_metadata_in_the_same_order(archive, dataset):
    parts = [ArchiveDataset(archive, split=name) for name in ("train", "test")]
    assert [len(part) for part in parts] == dataset.csv["split"].value_counts()[["train", "test"]].tolist()
    assert dataset.csv["image_id"].tolist() == [name for part in parts for name in part.csv["image_id"]]
    assert dataset.csv["image_id"].tolist() == read_table(archive)["image_id"].to_pylist()


def test_other_pathologies_in_another_order(archive):
    labels = ArchiveDataset(archive, pathologies=["Mass", "No Finding"]).labels
    assert labels.shape == (9, 2)
    assert np.nansum(labels, axis=0).tolist() == [6, 3]
    with pytest.raises(InputDataError, match="None of the findings"):
        ArchiveDataset(archive, pathologies=["Tuberculosis"])


def test_their_names_and_order_are_ours(xrv):
    assert list(PATHOLOGIES) == xrv.datasets.default_pathologies


def test_their_range_is_ours(xrv, archive, dataset):
    theirs = xrv.utils.normalize(read_pixels(archive)[0], maxval=255, reshape=True)
    assert np.allclose(dataset[0]["img"], theirs, atol=1e-3)


@pytest.mark.slow  # README's snippet does it too
def test_their_models_take_it(xrv, archive, capsys):
    import torch

    model = xrv.models.DenseNet(num_classes=len(PATHOLOGIES)).eval()  # no weights: they would be downloaded
    dataset = ArchiveDataset(archive, transform=xrv.datasets.XRayResizer(224))
    batch = next(iter(torch.utils.data.DataLoader(dataset, batch_size=2)))
    with torch.inference_mode():
        outputs = model(batch["img"])
    assert "not normalized" not in capsys.readouterr().out
    assert outputs.shape == batch["lab"].shape == (2, 18)
    known = ~batch["lab"].isnan()
    assert known.any()
    assert torch.nn.functional.binary_cross_entropy_with_logits(outputs[known], batch["lab"][known]).isfinite()


def test_their_tools_take_it(xrv, archive, capsys):
    first, second = ArchiveDataset(archive), ArchiveDataset(archive, split="test")
    merged = xrv.datasets.MergeDataset([first, second])
    assert len(merged) == len(first) + len(second)
    assert np.array_equal(merged[len(first)]["img"], second[0]["img"])
    chosen = xrv.datasets.SubsetDataset(first, [1, 4])
    assert chosen.csv["image_id"].tolist() == first.csv["image_id"].iloc[[1, 4]].tolist()
    xrv.datasets.relabel_dataset(["Mass", "Pneumonia"], first)
    assert first.labels.shape == (9, 2)
    assert "ArchiveDataset num_samples" in merged.string()
    capsys.readouterr()
