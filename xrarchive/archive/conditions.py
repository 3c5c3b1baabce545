"""Conditions on the columns of an archive, as `withdraw --where` and `browse --where` take them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from xrarchive.archive.content import read_shard
from xrarchive.archive.manifest import Manifest
from xrarchive.archive.readme import column_names
from xrarchive.archive.schema import DATA
from xrarchive.errors import InputDataError

_FIX = "Find out more with `xrarchive check --read-data`."


def fitting_ids(data: Path, provenance: Path, manifest: Manifest, where: str) -> list[str]:
    """Ids of the images of one shard that a condition holds for, in row order.

    Args:
        data: The shard of the images.
        provenance: That of the same images.
        manifest: Of their archive.
        where: A condition on the columns of either config, as `pandas.DataFrame.query` takes it, the label by its name:
            ``label == 'Edema' and judge_Edema < .1``. Names with spaces stand in backticks.

    Raises:
        InputDataError: If the condition cannot be read.
        DamageError: If a shard cannot be read.
    """
    import pandas as pd

    # Findings nobody asked about stay null, so that their columns are of one type in every shard.
    nullable = {pa.bool_(): pd.BooleanDtype()}
    columns = [name for name in column_names(DATA, manifest) if name != "image"]
    images = read_shard(data, columns, fix=_FIX).to_pandas(types_mapper=nullable.get)
    origins = read_shard(provenance, fix=_FIX).to_pandas()
    frame = images.merge(origins, on="image_id").assign(label=images["label"].map(dict(enumerate(manifest.findings))))
    try:
        fits = frame.eval(where)
        if not (isinstance(fits, pd.Series) and pd.api.types.is_bool_dtype(fits) and len(fits) == len(frame)):
            raise ValueError("it does not say yes or no of each image")
        found = frame["image_id"][fits.fillna(False).to_numpy(bool)].tolist()
    except Exception as err:  # pandas raises what Python's parser and its own evaluation raise
        raise InputDataError(
            f"The condition {where!r} cannot be read: {err}.",
            fix=f"Use these columns: {', '.join(frame.columns)}; backticks around names with spaces.",
        ) from err
    return [str(image_id) for image_id in found]
