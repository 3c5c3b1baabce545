"""The embedded default: there, small, complete, and as good as its own rule asks."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from xrarchive import bundled
from xrarchive.classifier.offering import list_offerings
from xrarchive.files import sha256_file
from xrarchive.findings import NIH_VOCABULARY
from xrarchive.latents import draw_latent
from xrarchive.synthesis import open_studio, render
from xrarchive.validation.reference import load_reference

FOLDER = Path(bundled.__file__).parent
MAX_BYTES = 12_000_000


@pytest.fixture(scope="module")
def studio():
    return open_studio(*(bundled.bundled_weights(role) for role in ("generator", "guide", "judge")))


def test_all_weights_together_are_small():
    assert sum(path.stat().st_size for path in FOLDER.glob("*.safetensors")) < MAX_BYTES


def test_every_nih_finding_is_listed_and_at_least_five_are_offered(studio):
    offerings = list_offerings(studio.guide.meta, studio.judge.meta)
    assert tuple(item.finding for item in offerings) == NIH_VOCABULARY
    offered = [item.finding for item in offerings if item.offered]
    assert len(offered) >= 5
    assert "Pneumonia" not in offered
    assert all(studio.guide.threshold(finding) > 0 for finding in offered)


def test_it_saw_the_images_and_carries_the_terms(studio):
    assert studio.snapshot.meta["nimg"] >= 150_000
    assert studio.snapshot.settings.resolution == 64
    for meta in (studio.snapshot.meta, studio.guide.meta, studio.judge.meta):
        assert meta["terms"] == ["nih-chestxray14", "mednist"]


def test_random_draws_differ_and_use_the_grey_scale(studio):
    latents = torch.stack([draw_latent(seed, 0, studio.snapshot.settings.latent_size) for seed in range(32)])
    pixels = render(studio.snapshot.generator, latents)
    assert len({image.tobytes() for image in pixels}) == 32
    assert pixels.std(axis=(1, 2)).min() > 10
    assert np.abs(pixels[:16].astype(int) - pixels[16:]).mean() > 10


def test_reference_belongs_to_the_bundled_judge(studio):
    reference = load_reference(bundled.bundled_reference())
    assert reference.rows == 1_000
    assert reference.fingerprints["judge"] == studio.judge.sha256


def test_the_record_of_its_archive_is_of_these_weights():
    """If not, they were replaced without `scripts/reproduce_bundled --write`."""
    recorded = json.loads((FOLDER / "archive.json").read_bytes())["weights"]
    assert recorded == {role: sha256_file(bundled.bundled_weights(role)) for role in ("generator", "guide", "judge")}


def test_card_lists_every_finding_and_carries_the_terms():
    card = (FOLDER / "README.md").read_text()
    for finding in NIH_VOCABULARY:
        assert f"| {finding} |" in card
    assert "nihcc.app.box.com" in card
    assert "Mayo" in card
