"""The archive: a folder of Parquet shards with a manifest, readable by `datasets` and by anything that reads Parquet.

Format 2. `read_manifest` reads formats 1 and 2 and refuses others by name; only archives of format 2 are changed.

    ARCHIVE/
      README.md                       YAML that names every shard of both configs, then the card's text
      manifest.json                   written last: hashes, counts, builds, history, withdrawn ids
      SHA256SUMS                      of every file here but itself; `sha256sum -c SHA256SUMS`
      validation.json                 written by `validate`; names the manifest's sha256
      croissant.json, CITATION.cff, SCORECARD.md, samples/<Finding>.png
                                      written by `card`; each holds the manifest's sha256
      manifest.json.sig               an SSH signature of manifest.json, if its publisher made one
      data/train-00000.parquet        default config: images, labels, scores
      provenance/train-00000.parquet  how each image came about, joined by image_id
      .work/                          units of an unfinished build or extension; gone when the manifest has them

Shard names carry no total, so that an archive can grow without renaming; `-r3` marks a shard that the third change
wrote anew. Every shard is named in README's YAML, so that a missing one is an error and not a shorter dataset. A shard
holds at most 5,000 rows and 256 MiB of pixels, a row group 1,000 rows and 32 MiB. Image bytes are uncompressed and
PLAIN, all else Snappy; pages carry checksums and an index, chunks are cut by content. No manifest means not finished.

Columns of `data` (`schema.data_columns`): image (PNG; `tEXt` Source = Synthetic, by xrarchive), image_id, label,
findings (all asked for), one bool a finding (true = asked for, false = its absence asked for, null = nobody asked),
guide_* and judge_* probabilities, soft_label, synthetic (always true), pixels_sha256.
Columns of `provenance` (`schema.provenance_columns`): image_id, build (index into the manifest's `builds`), seed and
draw (the start latent), steps, travel_deg, targets, nuisances, start_nuisances, latent.

manifest.json, annotated:

    {"schema": "xrarchive.manifest/2",
     "checksum": "…",                        sha256 of all the rest of this file
     "content_sha256": "…",                  of split, id, labels and pixels of all rows, whatever packs them
     "findings": ["No Finding", …],          position = class index
     "nuisances": ["view", "sex"], "size_px": 64, "mode": "L",
     "rows": 40, "counts": {"Effusion": 20, …},
     "splits": [["train", 1.0]],             shares; an id's hash decides its split
     "files": {"data/train-00000.parquet": {"sha256": "…", "bytes": 91234, "rows": 40}, …},
     "builds": [{"plan_sha256": "…",         resume token: requests, weights, seed, settings
                 "units": 1, "seed": 0, "settings": {…},
                 "weights": {"generator": {"sha256": "…", "name": "…"}, …},
                 "versions": {"torch": "…", …}, "terms": ["nih-chestxray14"],
                 "tallies": [{"findings": ["Effusion"], "asked": 20, "accepted": 20, …}]}],
     "history": [{"version": "1.0.0", "change": "build", "added": 40, "removed": 0, "reason": "", "date": null}],
     "withdrawn": [{"image_id": "…", "reason": "…", "date": "2026-11-23", "version": "2.0.0"}]}

What a crash leaves, and what the same command does when it is run again:

    before a unit's record          files named `.tmp-…`, removed; the unit is made again
    after it                        a finished unit, used
    while shards are written        shards that nothing names: README and manifest are the old ones; written again
    between README and manifest     README and SHA256SUMS of the new state, whose shards are all there, and the old
                                    manifest: `datasets` reads the new state, `check` finds the difference; redone.
                                    The card is still there, and stays if the change is dropped instead
    after the manifest              the change holds; shards that left the archive, the card of the state before or
                                    `.work/` are still there; removed, by the same command or by `gc`
"""
