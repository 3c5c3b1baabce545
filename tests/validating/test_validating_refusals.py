"""What `validate` refuses, and the form of what it writes."""

import json

import pytest
from tiny_build import FINDINGS, edit_weights

from xrarchive import pipeline
from xrarchive.errors import InputDataError
from xrarchive.reporting.validation import render_validation
from xrarchive.validation.schema import validate_report


def test_the_report_has_the_published_form_and_a_page(tiny_carded):
    report = json.loads((tiny_carded / "validation.json").read_bytes())
    assert validate_report(report) == []
    assert "18 synthetic chest radiographs" in render_validation(report, title="Tiny")


def test_validating_with_another_judge_is_refused(tiny_built, tiny_weights, tmp_path):
    other = edit_weights(tiny_weights["judge"], tmp_path / "judge.safetensors", note="retrained")
    with pytest.raises(InputDataError, match=r"is not the judge .* was built with"):
        pipeline.validate(tiny_built, judge=other)


def test_validating_against_films_of_another_size_is_refused(tiny_built, tiny_weights, tiny_set, tmp_path):
    source = tiny_set.parent / "source"
    pipeline.ingest(source, tmp_path / "large", size_px=32, findings=FINDINGS[1:])
    with pytest.raises(InputDataError, match="holds 32 px images, the archive's are 16 px"):
        pipeline.validate(tiny_built, radiographs=[tmp_path / "large"], judge=tiny_weights["judge"])
