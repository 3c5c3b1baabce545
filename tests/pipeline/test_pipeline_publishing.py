"""Card, plan and publication of a validated archive of the tiny world."""

import json
import shutil

import pytest
from tiny_build import FINDINGS, PER_CLASS

from xrarchive import pipeline
from xrarchive.archive.manifest import MANIFEST_NAME, read_manifest
from xrarchive.errors import AccessError, GateError, InputDataError


def test_validate_card_check_show(tiny_carded, tiny_built, tiny_set):
    report = json.loads((tiny_carded / "validation.json").read_bytes())
    assert report["manifest_sha256"] == read_manifest(tiny_built).sha256
    assert set(report["labels"]["findings"]) == set(FINDINGS)
    assert str(tiny_set) not in (tiny_carded / "validation.json").read_text()
    assert (tiny_carded / "README.md").read_text().startswith("---\nlicense: other\n")
    assert pipeline.check(tiny_carded, read_data=True).problems == ()
    assert pipeline.show(tiny_carded)["rows"] == len(FINDINGS) * PER_CLASS
    assert pipeline.show(tiny_carded)["manifest_sha256"] == read_manifest(tiny_built).sha256


def test_publishing_shows_its_plan_without_a_network_and_keeps_back_unproven_weights(
    tiny_carded, tiny_weights, tmp_path, monkeypatch
):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    archive = shutil.copytree(tiny_carded, tmp_path / "archive")
    given = {**tiny_weights, "model_repo": "me/chest-gan", "permission": "The films are the test's own."}
    with pytest.raises(GateError, match="No terms are recorded"):
        pipeline.publish(archive, "me/chests", version="1.0.0", dry_run=True, **tiny_weights)
    plan = pipeline.publish(archive, "me/chests", version="1.0.0", dry_run=True, **given)
    told = plan.as_dict()
    assert "The Hub was not asked" in told["notes"][-1]
    assert {item["path"] for item in told["dataset"]["files"]} >= {MANIFEST_NAME, "README.md", "validation.json"}
    assert told["model"] is None
    assert [gate.partition(":")[0] for gate in told["withheld"]] == [
        "privacy.membership.critic",
        "privacy.membership.inversion",
    ]
    report = json.loads((archive / "validation.json").read_bytes())
    assert [gate["reason"] for gate in report["gates"]["list"] if gate["status"] == "waived"] == [
        "Images of 16 px are alike."
    ]
    for gate in report["gates"]["list"]:
        gate["status"] = "passed"
    (archive / "validation.json").write_text(json.dumps(report))
    pipeline.write_card(archive)
    plan = pipeline.publish(archive, "me/chests", version="1.0.0", dry_run=True, **given)
    told = plan.as_dict()
    assert told["withheld"] == []
    assert {item["path"] for item in told["model"]["files"]} >= {f"{role}.safetensors" for role in tiny_weights}


def test_without_a_token_nobody_is_asked_and_nothing_is_sent(tiny_carded, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    asked = []
    with pytest.raises(AccessError, match="no token"):
        pipeline.publish(tiny_carded, "me/chests", version="1.0.0", permission="Made for a test.", confirm=asked.append)
    assert not asked


def test_a_card_needs_a_validation_of_these_very_bytes(tiny_carded, tmp_path):
    folder = tmp_path / "archive"
    shutil.copytree(tiny_carded, folder)
    report = json.loads((folder / "validation.json").read_bytes())
    (folder / "validation.json").write_text(json.dumps(report | {"manifest_sha256": "0" * 64}))
    with pytest.raises(GateError, match="names the manifest 000000000000"):
        pipeline.write_card(folder)
    (folder / "validation.json").unlink()
    with pytest.raises(InputDataError, match="No validation at"):
        pipeline.write_card(folder)
