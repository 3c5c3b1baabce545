"""The archive: a folder of Parquet shards with a manifest, readable by `datasets` and by anything that reads Parquet.

    ARCHIVE/
      README.md                       YAML that names every shard of both configs, then the card's text
      manifest.json                   written last: hashes, counts, weights, seed, settings, versions
      validation.json                 written by `validate`; names the manifest's sha256
      data/train-00000.parquet        default config: images, labels, scores
      provenance/train-00000.parquet  how each image came about, joined by image_id
      .work/                          units of an unfinished build; gone when the manifest is there

Shard names carry no total, so that an archive can grow without renaming; every shard is named in the YAML, so that a
missing one is an error and not a shorter dataset. No manifest means not finished, always.

What a crash leaves: finished units (kept and used by the next run of the same command) and files whose names begin with
`.tmp-` (removed by the next run). Between the last shard and the manifest: shards that the next run writes again.
"""
