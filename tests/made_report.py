"""A full report of version 2 with invented numbers: every part there, for tests of what reads reports."""

import numpy as np

from xrarchive.validation.measures import measure, not_measured

FINDINGS = (
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Infiltration",
    "No Finding",
    "Pleural_Thickening",
    "Pneumothorax",
)
SPACES = {"imagenet": 1280, "judge": 192, "rad-dino": 768}
PARTS = ["integrity", "fidelity", "diversity", "labels", "utility", "privacy"]
FINGERPRINT = "3f" * 32


def made_report(*, failed=("privacy.reidentification",), seed=5):
    """The report; `failed` names the gates that are closed."""
    rng = np.random.default_rng(seed)
    return {
        "schema": "xrarchive.validation/2",
        "manifest_sha256": "9c41" * 16,
        "subject": {
            "kind": "archive",
            "name": "chest-1000",
            "version": "1.0.0",
            "images": 1000,
            "findings": list(FINDINGS),
        },
        "measured": PARTS,
        "settings": {"seed": 0, "resamples": 200, "level": 0.95, "quick": False, "floor_draws": 10},
        "reference": {
            "name": "nih64",
            "source": "Frontal films of NIH ChestX-ray14, 64 px, that no network here was trained on.",
            "n": 1999,
            "patients": 1204,
            "spaces": {space: {"dim": dim, "fingerprint": FINGERPRINT} for space, dim in SPACES.items()},
            "sha256": "ab" * 32,
        },
        "integrity": integrity(),
        "fidelity": fidelity(rng),
        "diversity": diversity(rng),
        "labels": labels(rng),
        "utility": utility(rng),
        "privacy": privacy(rng),
        "gates": gates(failed),
        "instruments": instruments(),
        "problems": [
            {
                "id": "labels.agreement",
                "severity": "warning",
                "message": "Effusion: the judge cannot tell the 100 images asked to show it from the others.",
            },
            {
                "id": "fidelity.imagenet.frechet",
                "severity": "note",
                "message": "Fréchet distance in 1280 dimensions needs 2561 images per side; there are 1000.",
            },
        ],
    }


def thinned(value):
    """A report with one finding in place of ten, for tests that need many: what holds for one holds for all."""
    if isinstance(value, dict):
        return {key: thinned(inner) for key, inner in value.items() if key not in FINDINGS or key == "Edema"}
    return value


def near(rng, value, spread, *, n=1000, note, low=-9.0, high=9.0, floor=None, **extra):
    """A measure round `value` with an interval of about `spread` to both sides."""
    middle = float(np.clip(value + rng.normal() * spread / 3, low, high))
    ends = [float(np.clip(middle + sign * spread * rng.uniform(0.8, 1.2), low, high)) for sign in (-1, 1)]
    return measure(middle, low=ends[0], high=ends[1], n=n, floor=floor, note=note, extra=extra)


def bound(value, note, **more):
    return {"value": value, "note": note, **more}


def count(value, n, note, **extra):
    return measure(value, n=n, note=note, extra=extra)


def integrity():
    return {
        "shards": count(0, 14, "Files whose bytes are not those the manifest names."),
        "decodable": count(0, 1000, "Images that cannot be decoded."),
        "labels": count(0, 1000, "Rows whose label no vocabulary knows."),
        "counts": count(0, 10, "Findings whose number of images differs from the manifest's."),
        "exact_duplicates": count(0, 1000, "Images whose pixels repeat those of another.", image_ids=[]),
        "near_duplicates": count(
            2, 1000, "Images within 8 grey levels of another.", image_ids=["Edema-000017", "Edema-000061"]
        ),
    }


def fidelity(rng):
    scales = {"imagenet": 0.116, "judge": 2.4, "rad-dino": 0.61}
    spaces = {}
    for space, scale in scales.items():
        floor = bound(scale / 90, "Real against real radiographs of other patients.", n=999, sd=scale / 40, draws=10)
        control = bound(scale * 3.1, "Real radiographs blurred by 1 px against sharp ones.")
        note = "Unbiased kernel distance between synthetic images and real radiographs: about 0 if alike."
        kid = near(rng, scale, scale / 9, note=note, floor=floor, n_real=1999, n_patients=1204, control=control)
        kid["ratio"] = near(rng, 3.4, 0.5, note="The distance over its floor: 1 = as near as real films are.")
        spaces[space] = {"kid": kid, "frechet": {**kid, "value": kid["value"] * 20, "low": None, "high": None}}
    spaces["imagenet"]["frechet"] = not_measured(
        "Fréchet distance in 1280 dimensions needs 2561 images per side; there are 1000 synthetic images."
    )
    return spaces


def diversity(rng):
    shares = {"precision": 0.71, "recall": 0.42, "density": 0.78, "coverage": 0.55}
    notes = {
        "precision": "Share of the synthetic images that lie among real ones.",
        "recall": "Share of the real films that lie among synthetic images.",
        "density": "How densely real films surround the synthetic images: 1 = as real ones.",
        "coverage": "Share of the real films with a synthetic image near.",
    }
    spaces = {}
    for space in SPACES:
        spaces[space] = {
            name: near(rng, value, 0.04, note=notes[name], low=0, floor=bound(0.9, "Real against real."))
            for name, value in shares.items()
        }
        spaces[space]["vendi"] = near(
            rng,
            21,
            2,
            note="Effective number of distinct images.",
            high=99,
            floor=bound(34.2, "Of as many real films."),
        )
    share = "Share with the finding."
    real = bound(0.11, "Share of the real films with it.")
    return {
        "spaces": spaces,
        "intra_class": {
            name: near(
                rng, 0.31, 0.02, note=f"Mean MS-SSIM of pairs of {name}.", floor=bound(0.27, "Of real films."), n=100
            )
            for name in FINDINGS
        },
        "prevalence": {
            side: {name: near(rng, 0.1, 0.03, note=share, low=0, high=1, floor=real) for name in FINDINGS}
            for side in ("archive", "draws")
        },
        "co_occurrence": {
            "findings": list(FINDINGS),
            **{side: co_occurrence(rng) for side in ("archive", "draws", "real")},
            "distance": {
                side: near(rng, 0.08, 0.02, note="Mean absolute difference to the real films.", low=0)
                for side in ("archive", "draws")
            },
        },
    }


def co_occurrence(rng):
    shares = np.round(rng.beta(1, 7, (len(FINDINGS), len(FINDINGS))), 4)
    np.fill_diagonal(shares, 1)
    return shares.tolist()


def labels(rng):
    return {
        "by": "judge",
        "raters": {"judge": {"sha256": "1a" * 32}, "referee": {"sha256": "2b" * 32}},
        "findings": {name: rated(rng, name, "judge") for name in FINDINGS},
        "referee": {name: rated(rng, name, "referee") for name in FINDINGS},
        "histograms": {name: scores(rng) for name in FINDINGS[:4]},
        "co_occurrence": near(rng, 0.06, 0.01, note="Distance between asked and called co-occurrence.", low=0),
        "nuisances": {name: {finding: moved(rng, finding) for finding in FINDINGS} for name in ("view", "sex")},
    }


def rated(rng, name, role):
    chance = bound(0.5, "What a rater that guesses scores.")
    real = bound(float(rng.uniform(0.66, 0.84)), f"The {role} on real films.", low=0.66, high=0.85)
    note = f"AUROC of the independent {role} for images asked to show {name} against those where it was not asked."
    found = near(rng, 0.76, 0.04, n=100, note=note, low=0, high=1, floor=chance, ceiling=real)
    if name == "Fibrosis" and role == "referee":
        return not_measured(f"The referee gives no score for {name}.") | {"purity": purity(rng, name)}
    more = {
        "transfer": (1.0, "How far the {role} follows the guide, over how far on real films: 1 = as far."),
        "dose": (0.9, "Mean score of images of {name}: 0 = as real films without it, 1 = as real films with it."),
        "exaggeration": (
            0.03,
            "Share of images of {name} more marked than nearly all real ones, beyond the control's.",
        ),
        "sensitivity": (0.7, "Share of the images of {name} that are called."),
        "specificity": (0.8, "Share of the other images that are not called."),
        "guide_gap": (0.2, "Mean probability of the guide less that of the {role} for {name}."),
        "off_target": (0.04, "How far other findings moved in images of {name}."),
    }
    for key, (value, text) in more.items():
        found[key] = near(rng, value, 0.08, n=100, note=text.format(role=role, name=name))
    found["within"] = {
        view: {"transfer": near(rng, 0.95, 0.1, n=50, note=f"Transfer among {view} images of {name}.")}
        for view in ("AP", "PA")
    }
    found["coverage_by"] = {
        "sex": {side: near(rng, 0.5, 0.08, n=50, note=f"Coverage of {side} films of {name}.") for side in ("F", "M")}
    }
    return found | {"purity": purity(rng, name)}


def purity(rng, name):
    real = bound(0.08, f"Share of the real radiographs labelled {name}.")
    text = f"Share of the images asked to show {name} that show it, by"
    return {
        "rogan_gladen": near(rng, 0.8, 0.1, n=100, note=f"{text} calls.", low=0, high=1, floor=real),
        "score_mixture": near(rng, 0.7, 0.1, n=100, note=f"{text} scores.", low=0, high=1, floor=real),
        "soft": near(rng, 0.31, 0.05, n=100, note=f"{text} the soft label.", low=0, high=1),
        "with_10pct_label_noise": not_measured(f"8 % of the real radiographs are labelled {name}: too few."),
    }


def scores(rng):
    edges = [round(step / 20, 2) for step in range(21)]
    sides = {"asked": rng.beta(4, 3, 100), "not_asked": rng.beta(2, 5, 900), "real": rng.beta(2, 4, 1999)}
    return {"edges": edges, **{side: np.histogram(values, edges)[0].tolist() for side, values in sides.items()}}


def moved(rng, finding):
    share = f"Share of images labelled {finding} on the positive side."
    return {
        "drift": near(rng, 0.1, 0.1, n=100, note="Mean change of the logit."),
        "positive_start": near(rng, 0.4, 0.08, n=100, note=share, low=0, high=1),
        "positive_end": near(rng, 0.5, 0.08, n=100, note=share, low=0, high=1),
        "coverage_by_stratum": {"start": {"negative": 60, "positive": 40}, "end": {"negative": 50, "positive": 50}},
    }


def utility(rng):
    note = "Macro AUROC on held-out real films after training on {}."
    names = {
        "trtr": "real films",
        "tstr": "the archive",
        "real_synthetic": "both",
        "guide": "nothing: the guide itself",
    }
    macro = {name: near(rng, 0.7, 0.01, n=3, note=note.format(text)) for name, text in names.items()}
    macro["trts"] = near(rng, 0.78, 0.01, n=3, note="AUROC on the archive after training on real films.")
    macro |= {
        name: near(rng, 0.69, 0.01, n=3, note=note.format(f"{text} that the guide labelled"))
        for name, text in {"pseudo_real": "real films", "pseudo_draws": "random draws"}.items()
    }
    macro["excess_retention"] = near(rng, 0.93, 0.05, n=3, note="AUROC above chance, archive over real films.")
    macro["ratio"] = near(rng, 0.98, 0.01, n=3, note="AUROC, archive over real films.")
    macro["tstr_minus_pseudo_draws"] = near(rng, -0.004, 0.01, n=3, note="What steering adds to labelling.")
    one = {"trtr": 0.7, "tstr": 0.68, "trts": 0.76, "real_synthetic": 0.71}
    return {
        "macro": macro,
        "findings": {
            name: {
                **{key: near(rng, value, 0.04, n=3, note=f"AUROC for {name}.") for key, value in one.items()},
                "excess_retention": near(rng, 0.9, 0.15, n=3, note=f"Above chance for {name}."),
            }
            for name in FINDINGS
        },
        "recipe": {"network": "plain", "seeds": 3, "films": 1000, "folds": 5},
    }


def privacy(rng):
    edges = [round(step / 4, 2) for step in range(25)]
    half = bound(0.5, "Expected if training films are no nearer than others.")
    held = bound(2.1, "Of held-out films to training films.")
    space = "pixels"
    return {
        "copies": count(0, 1000, "Copies of training films, also shifted, mirrored or recoloured.", image_ids=[]),
        "share_nearer": {
            name: near(rng, 0.51, 0.03, note="Share nearer to a training film than to a held-out one.", floor=half)
            for name in (space, "judge")
        },
        "dcr": {
            name: near(rng, 2.2, 0.2, note="Distance to the nearest film.", floor=held) for name in (space, "judge")
        },
        "nndr": {space: near(rng, 0.8, 0.05, note="Nearest over second nearest.", floor=bound(0.81, "Held out."))},
        "authenticity": near(rng, 0.97, 0.01, note="Share farther from its film than that film from its neighbour."),
        "reidentification": count(
            3, 1000, "Images a network takes for a film's patient.", image_ids=["Edema-000001"], threshold=0.93
        )
        | {"power": near(rng, 0.41, 0.05, n=400, note="Share of same-patient pairs it finds at that threshold.")},
        "membership": {
            "critic": near(rng, 0.53, 0.02, note="AUROC of the critic's score, training against held-out films."),
            "inversion": near(rng, 0.55, 0.03, note="AUROC of the reconstruction error."),
        },
        "films": {"known": 16000, "at_hand": 15804, "note": "Films the generator was trained on, and those searched."},
        "histograms": {
            space: {
                "edges": edges,
                "synthetic": np.histogram(rng.gamma(9, 0.3, 1000), edges)[0].tolist(),
                "holdout": np.histogram(rng.gamma(9, 0.31, 900), edges)[0].tolist(),
            }
        },
        "limits": ["196 training films were not at hand.", "Image-level only where patients are unknown."],
    }


def gates(failed):
    bars = {
        "integrity.shards": ("integrity", 0, 0, "Every file is as the manifest says."),
        "labels.transfer": ("labels", 0.94, 0.8, "The judge follows the guide as on real films."),
        "fidelity.kid": ("fidelity", 3.4, 5, "KID is at most five times its floor."),
        "utility.excess_retention": ("utility", 0.88, 0.8, "A classifier trained on the archive keeps enough."),
        "privacy.copies": ("privacy", 0, 0, "No copy of a training film was found."),
        "privacy.reidentification": ("privacy", 3, 0, "3 images are taken for a real patient's."),
        "weights.membership": ("privacy", 0.56, 0.6, "Training films cannot be told from others."),
    }
    listed = []
    for name, (part, value, bar, message) in bars.items():
        closed = name in failed
        listed.append(
            {
                "name": name,
                "part": part,
                "status": "failed" if closed else "passed",
                "value": value,
                "bar": bar,
                "message": message,
                "help": "Withdraw the images listed and validate again." if closed else "",
            }
        )
    listed[2] |= {"status": "waived", "reason": "A first version, to be replaced."}
    return {"open": not failed, "weights_open": not failed, "list": listed}


def instruments():
    degradations = [
        {
            "name": name,
            "spearman": {"value": 1.0, "low": None, "high": None, "n": 500, "floor": None, "note": "Rank correlation."},
            "values": [0.01, low, low * 2, low * 4, low * 7],
        }
        for name, low in {"blur": 0.05, "noise": 0.08, "contrast": 0.02, "jpeg": 0.03, "mixture": 0.04}.items()
    ]
    snapshots = {
        "spearman": {"value": 0.96, "low": None, "high": None, "n": 500, "floor": None, "note": "Rank correlation."},
        "values": [1.4, 0.6, 0.31, 0.22, 0.18],
        "nimg": [50, 150, 250, 400, 620],
    }
    return {
        "imagenet": {"kid": {"degradations": degradations, "snapshots": snapshots}},
        "judge": {"kid": {"degradations": degradations[:3], "snapshots": {"reason": "No training run was at hand."}}},
    }
