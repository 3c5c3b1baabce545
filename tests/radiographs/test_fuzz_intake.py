from __future__ import annotations

from pathlib import Path

import pytest
from fuzz_intake import dicom_bases, fuzz_intake, fuzz_tables, image_bases, mutate


def test_bases_are_of_every_kind() -> None:
    assert len(image_bases()) == 12
    assert len(dicom_bases()) > 60


def test_a_few_hundred_mutants_of_tables_and_containers(tmp_path: Path) -> None:
    found = fuzz_tables(tmp_path, 270, 0)
    assert found.misses == []
    assert sum(found.answers.values()) == 270


def test_mutants_follow_from_the_seed() -> None:
    import random

    data = image_bases()[0]
    assert mutate(data, random.Random("1")) == mutate(data, random.Random("1")) != data


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_thousands_of_mutants_end_in_a_film_a_reason_or_an_error(tmp_path: Path) -> None:
    for found in fuzz_intake(tmp_path, 6_300, 1):
        assert found.misses == []
