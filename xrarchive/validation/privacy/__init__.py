"""Do synthetic images give away the radiographs they were learnt from? Arrays come in, measures and limits go out.

Read in the order of the data: `search` (exact nearest neighbours), `films` (radiographs as a space to search),
`nearness` (are images nearer to training films than to others), `flags` (which images are too near to one), `strip`
(the nearest pairs, to look at), `audit` (all of it). `planting` makes the copies that all this must find.
"""

from xrarchive.validation.privacy.audit import (
    Attack,
    Films,
    Recognition,
    Space,
    films_of,
    measure_attacks,
    measure_privacy,
)
from xrarchive.validation.privacy.films import mirrored_films, shifted_films
from xrarchive.validation.privacy.planting import COPIES, plant
from xrarchive.validation.privacy.search import BLOCK_BYTES, FeatureRows, Neighbours, nearest_neighbours

__all__ = [
    "BLOCK_BYTES",
    "COPIES",
    "Attack",
    "FeatureRows",
    "Films",
    "Neighbours",
    "Recognition",
    "Space",
    "films_of",
    "measure_attacks",
    "measure_privacy",
    "mirrored_films",
    "nearest_neighbours",
    "plant",
    "shifted_films",
]
