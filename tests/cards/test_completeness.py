"""What the cards of other sets say, field by field: ours leaves none empty."""

import re

import pytest
import yaml

# What the Hub's template and the cards of SynthCheX-75K, RoentGen-v2, NIH ChestX-ray14 and MedMNIST ask for or state
# between them -> where ours has it: a key of the YAML head, or words of the text.
FIELDS = {
    "licence": "license",
    "language": "language",
    "annotations_creators": "annotations_creators",
    "size_categories": "size_categories",
    "task_categories": "task_categories",
    "task_ids": "task_ids",
    "source_datasets": "source_datasets",
    "pretty_name": "pretty_name",
    "tags": "tags",
    "configs": "configs",
    "features": "dataset_info",
    "summary": "They were computed",
    "sample pictures": "## Pictures",
    "intended use": "**Meant for**",
    "out of scope": "**Out of scope**",
    "columns explained": "| column | what it holds |",
    "label distribution by split": "| finding | class index | label, train",
    "how it was made": "## How it was made",
    "filtering": "scored every image",
    "how to load it": "## Load",
    "pinned revision": 'revision="vX.Y.Z"',
    "metrics with intervals": "| measure | value | interval |",
    "memorisation": "copies of training radiographs",
    "scorecard": "## Scorecard",
    "limits": "## Limits",
    "bias": "and so are their biases",
    "not for clinical use": "**Not for clinical use**",
    "terms of the sources": "## Terms",
    "changes": "## Changes",
    "withdrawals": "## Withdrawals",
    "maintenance and contact": "## Maintenance and contact",
    "citation": "## Cite",
}


@pytest.mark.parametrize("field", FIELDS)
def test_no_field_is_empty(archive, field):
    head, text = re.fullmatch(r"---\n(.*?)---\n(.*)", (archive / "README.md").read_text(), re.DOTALL).groups()
    where = FIELDS[field]
    assert yaml.safe_load(head).get(where) or where in text


def test_no_heading_stands_over_nothing(archive):
    text = (archive / "README.md").read_text()
    sections = re.split(r"^#{2,3} .+$", text, flags=re.MULTILINE)[1:]
    assert len(sections) > 10
    assert all(section.strip() for section in sections)
