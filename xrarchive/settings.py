"""The project file `xrarchive.toml` -> frozen dataclasses.

What comes in: a TOML file in the working directory, and the options somebody typed. What goes out: one frozen
dataclass per command. Options beat the file, the file beats the defaults written here. An unknown key is refused
with the nearest known one, a value of another type with both types.
"""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xrarchive.errors import SettingsError
from xrarchive.tables import Settings, Table, check_table, from_table

if TYPE_CHECKING:
    from xrarchive.gan.settings import GeneratorSettings
    from xrarchive.plan import SearchSettings
    from xrarchive.radiographs.layouts.rows import Choices
    from xrarchive.validation.gates import GateSettings

PROJECT_FILE = "xrarchive.toml"
VALIDATION_PARTS = ("integrity", "fidelity", "diversity", "labels", "utility", "privacy", "instruments")
# In which images are compared with radiographs; all but the first three need weights fetched once.
FEATURE_SPACES = ("imagenet", "imagenet-224", "judge", "inception", "dinov2", "rad-dino", "xrv")
DEFAULT_SPACES = ("imagenet", "judge")
DEFAULT_PER_CLASS = 20


@dataclass(frozen=True)
class IngestSettings:
    """[ingest]: where the radiographs are and what becomes of them.

    Attributes:
        source: Folder of radiographs.
        out: Folder of the radiograph set.
        size_px: Side of the stored squares.
        findings: Declared findings; None = those of NIH's 14 that the source names, ("all",) = all it names.
        terms: Names of the terms the radiographs came under, carried into every archive.
        fit: How a rectangle becomes a square.
        max_rejects: Share of unreadable files, 0..1, above which the run stops.
        layout: Name of the layout; None = recognise it.
        uncertain: What becomes of uncertain labels: "ignore", "ones" or "zeros"; "Edema=ones" for one finding.
        readers: How many of several readers must name a finding.
        views: "frontal", "all", or views by name.
        image_column: Column of images in a Hub dataset or table; None = recognise it.
        label_column: Column of labels; None = recognise it.
        burned_in: What becomes of DICOM films whose header says that the pixels name the patient.
        patient_key: Key that hides patients and file names; None = one beside the set, for DICOM alone.
    """

    source: Path | None = None
    out: Path | None = None
    size_px: int = 64
    findings: tuple[str, ...] | None = None
    terms: tuple[str, ...] = ()
    fit: Literal["crop", "pad"] = "crop"
    max_rejects: float = 0.01
    layout: str | None = None
    uncertain: tuple[str, ...] = ()
    readers: Literal["any", "majority", "all"] = "majority"
    views: tuple[str, ...] = ("frontal",)
    image_column: str | None = None
    label_column: str | None = None
    burned_in: Literal["reject", "keep"] = "reject"
    patient_key: Path | None = None

    def __post_init__(self) -> None:
        """Refuse a share that is none."""
        if not 0 <= self.max_rejects <= 1:
            raise ValueError(f"max_rejects must lie between 0 and 1, got {self.max_rejects}")

    @property
    def choices(self) -> Choices:
        """What was chosen about the reading of the source."""
        from xrarchive.radiographs.layouts.rows import Choices  # here, since it brings numpy and pyarrow

        names = ("layout", "uncertain", "readers", "views", "image_column", "label_column")
        return Choices(**{name: getattr(self, name) for name in names})


@dataclass(frozen=True)
class TrainSettings:
    """[train]: which radiographs are learned from, and where weights go.

    Attributes:
        radiographs: Radiograph set; None = the one [ingest] makes.
        generator_out: Run folder of the generator.
        guide_out: Run folder of the guide.
        judge_out: Run folder of the judge.
        referee_out: Run folder of the referee.
    """

    radiographs: Path | None = None
    generator_out: Path = Path("runs/generator")
    guide_out: Path = Path("runs/guide")
    judge_out: Path = Path("runs/judge")
    referee_out: Path = Path("runs/referee")


@dataclass(frozen=True)
class BuildSettings:
    """[build]: what to make and with which weights; None for weights = the bundled ones.

    Attributes:
        per_class: Images for every finding; None = 20, or what `requests` says.
        findings: Findings to make; None = all the weights offer.
        requests: File of requests, instead of `per_class` and `findings`.
        like_real: Images whose label sets are as common as among the guide's radiographs, instead of all of these.
        boost: With `like_real`: 0 = as common as in reality, 1 = every set equally often.
        exclusive: Whether findings not asked for must be absent; otherwise nobody asks.
        generator: Weights.
        guide: Weights.
        judge: Weights.
        out: Folder of the archive; every later command reads it by default.
        seed: The same seed and weights give the same archive, byte for byte.
    """

    per_class: int | None = None
    findings: tuple[str, ...] | None = None
    requests: Path | None = None
    like_real: int | None = None
    boost: float = 0.0
    exclusive: bool = False
    generator: Path | None = None
    guide: Path | None = None
    judge: Path | None = None
    out: Path = Path("archive")
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse two answers to one question."""
        ways = {"requests": self.requests, "like_real": self.like_real, "per_class or findings": self._by_class}
        given = [name for name, value in ways.items() if value]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} both say what to build: leave out all but one")
        for name in ("per_class", "like_real"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if not 0 <= self.boost <= 1:
            raise ValueError(f"boost must lie between 0 and 1, got {self.boost}")
        if self.boost and self.like_real is None:
            raise ValueError("boost goes with like_real: it says how often rare label sets are drawn")

    @property
    def _by_class(self) -> bool:
        return self.per_class is not None or self.findings is not None

    @property
    def images_per_class(self) -> int | None:
        """How many images every finding gets, or None if something else says what to build."""
        if self.requests is not None or self.like_real is not None:
            return None
        return self.per_class or DEFAULT_PER_CLASS


@dataclass(frozen=True)
class ValidateSettings:
    """[validate]: what an archive is measured against.

    Attributes:
        radiographs: Sets to compare with, the reference first; none = the bundled reference statistics.
        referee: Weights of a classifier that measures the labels beside the judge; None = nobody does.
        spaces: Feature spaces, ``NAME`` or ``NAME=WEIGHTS``, of `FEATURE_SPACES`.
    """

    radiographs: tuple[Path, ...] = ()
    referee: Path | None = None
    spaces: tuple[str, ...] = DEFAULT_SPACES


@dataclass(frozen=True)
class PublishSettings:
    """[publish]: dataset repository, version X.Y.Z; model repository for the weights; who gets in; a folder instead."""

    repo: str | None = None
    version: str | None = None
    model_repo: str | None = None
    no_weights: bool = False
    private: bool = False
    gated: Literal["auto", "manual"] | None = None
    to: Path | None = None
    sign: Path | None = None


@dataclass(frozen=True)
class Project:
    """A whole project file. Tables, not dataclasses, are those whose dataclasses belong elsewhere."""

    ingest: IngestSettings = IngestSettings()
    train: TrainSettings = TrainSettings()
    generator: Table = field(default_factory=dict)
    classifier: Table = field(default_factory=dict)
    build: BuildSettings = BuildSettings()
    search: Table = field(default_factory=dict)
    validate: ValidateSettings = ValidateSettings()
    gates: Table = field(default_factory=dict)
    publish: PublishSettings = PublishSettings()


def load_project(folder: Path) -> Project:
    """The project file in `folder`, or all defaults if there is none.

    Raises:
        SettingsError: If it is not TOML (with the line), or says something we do not know.
    """
    path = folder / PROJECT_FILE
    try:
        document = tomllib.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        return Project()
    except OSError as err:
        raise SettingsError(f"Cannot read {path}: {err.strerror}.", fix="Make it a readable file.", path=path) from err
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise SettingsError(
            f"{path} is not valid TOML: {err}.", fix="Correct that line; `xrarchive init` shows the form.", path=path
        ) from err
    return from_table(Project, document, PROJECT_FILE)


def layered(cls: type[Settings], section: str, table: Table, flags: Table) -> Settings:
    """A dataclass from a section of the project file with typed options on top.

    Args:
        cls: The dataclass, torch-free.
        section: Name of the section.
        table: The section as the file has it.
        flags: Settings from the command line, values as TOML has them.

    Raises:
        SettingsError: As `from_table`, saying whether the file or an option is at fault.
    """
    values = check_table(cls, table, f"{PROJECT_FILE} [{section}]") | check_table(cls, flags, "options")
    try:
        return cls(**values)
    except ValueError as err:
        raise SettingsError(f"{section}: {err}.", fix="Correct the option or the project file.") from err


def generator_settings(project: Project, preset: str | None, flags: Table) -> GeneratorSettings:
    """Settings of a generator training: a preset, the project file's [generator] over it, typed options over both.

    Args:
        project: Its [generator] may name the preset.
        preset: A name of `xrarchive.gan.settings.PRESETS`; None = the project file's, or balanced.
        flags: Settings from the command line, values as TOML has them.

    Raises:
        SettingsError: For a preset nobody made, or as `layered`.
    """
    from xrarchive.gan.settings import PRESETS, GeneratorSettings

    table = dict(project.generator)
    name = preset or table.get("preset", "balanced")
    table.pop("preset", None)
    if name not in PRESETS:
        raise SettingsError(f"There is no preset {name!r}.", fix=f"Use one of {', '.join(PRESETS)}.")
    return layered(GeneratorSettings, "generator", {**PRESETS[str(name)], **table}, flags)


def gate_settings(project: Project) -> GateSettings:
    """Bars of publishing: the project file's [gates].

    Raises:
        SettingsError: As `layered`.
    """
    from xrarchive.validation.gates import GateSettings

    return layered(GateSettings, "gates", project.gates, {})


def search_settings(project: Project, flags: Table, *, like_real: bool = False) -> SearchSettings:
    """Limits of a latent search: the project file's [search], typed options over it.

    An archive with label sets as in reality gets bars as in reality, unless somebody said how strict to be.

    Args:
        project: Its [search].
        flags: Settings from the command line, values as TOML has them.
        like_real: Whether label sets are drawn as in reality.

    Raises:
        SettingsError: As `layered`.
    """
    from xrarchive.plan import SearchSettings

    said = {"strictness", "natural"} & {*project.search, *flags}
    table = project.search if said or not like_real else {**project.search, "natural": True}
    return layered(SearchSettings, "search", table, flags)


def resolve(section: Settings, **flags: object) -> Settings:
    """`section` with the options that were given; an option left out is None.

    Raises:
        SettingsError: If the two do not go together.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return dataclasses.replace(section, **given)
    except ValueError as err:
        raise SettingsError(f"{err}.", fix="Correct the option.") from err


def resolve_build(section: BuildSettings, **flags: object) -> BuildSettings:
    """Like `resolve`: an option that says what to build also puts aside what the file says about it.

    Raises:
        SettingsError: If two of ``requests``, ``like_real`` and ``per_class`` or ``findings`` are given.
    """
    ways = {"requests": ("requests",), "like_real": ("like_real", "boost"), "classes": ("per_class", "findings")}
    chosen = [way for way, names in ways.items() if any(flags.get(name) is not None for name in names)]
    if chosen:
        others = [name for way, names in ways.items() if way not in chosen for name in names]
        defaults: dict[str, Any] = {name: getattr(BuildSettings, name) for name in others}
        section = dataclasses.replace(section, **defaults)
    return resolve(section, **flags)


def write_template(folder: Path) -> Path:
    """Write a project file in which every setting stands commented out, with its default; its path.

    Raises:
        SettingsError: If there is one already.
        StorageError: If the folder cannot be written.
    """
    from xrarchive.files import write_bytes  # here, since locks and sockets are not needed to read settings

    path = folder / PROJECT_FILE
    if path.exists():
        raise SettingsError(
            f"{path} exists and is left as it is.", fix="Edit it, or remove it and run the command again.", path=path
        )
    write_bytes(path, TEMPLATE.encode())
    return path


def require(value: Path | str | None, option: str, setting: str) -> Any:
    """`value`, unless it is missing from both command line and project file.

    Raises:
        SettingsError: Naming the option and the setting that would supply it.
    """
    if value is None:
        section, key = setting.split(".")
        raise SettingsError(f"{option} is missing.", fix=f"Give it, or set {key} under [{section}] in {PROJECT_FILE}.")
    return value


TEMPLATE = """\
# Settings of an xrarchive project: every command run in this folder reads them. Options on the command line win.
# A line that is commented out shows the default, or an example where it says so. Paths start at this folder.

[ingest]
# source = "ChestX-ray14"            # example: the folder of radiographs
# out = "radiographs"                # example: the radiograph set made from it
# size_px = 64                       # side of the squares that are stored
# findings = ["Nodule", "Effusion"]  # example; default: those of NIH's 14 that the source names; ["all"]: all it names
# terms = ["nih-chestxray14"]        # example: terms the radiographs came under, carried into every archive
# fit = "crop"                       # how a rectangle becomes a square: "crop" or "pad"
# max_rejects = 0.01                 # share of unreadable files above which ingest stops
# layout = "chexpert"                # example; default: recognised
# uncertain = ["zeros"]              # example; uncertain labels: "ignore" (default), "ones", "zeros", "Edema=ones"
# readers = "majority"               # of several readers: "any", "majority" or "all" must name a finding
# views = ["frontal"]                # or ["all"], or views by name
# image_column = "image"             # example; default: recognised
# label_column = "labels"            # example; default: recognised
# burned_in = "reject"               # or "keep": DICOM that says the patient is named in the pixels
# patient_key = "patients.key"       # example; default: for DICOM alone, patients.key beside the set

[train]
# radiographs = "radiographs"        # example; default: the set [ingest] makes
# generator_out = "runs/generator"
# guide_out = "runs/guide"
# judge_out = "runs/judge"
# referee_out = "runs/referee"

[generator]                          # any setting of the generator: see `xrarchive train generator --help`
# preset = "balanced"                # or "segal2020", "tiny": what the settings below start from
# resolution = 64                    # px, a power of two from 16 to 1024
# nimg = 370_000                     # radiographs shown in all

[classifier]                         # any setting of the classifiers: see `xrarchive train classifier --help`

[build]
# per_class = 20                     # images for every finding
# findings = ["Nodule", "Effusion"]  # example; default: all the weights offer
# requests = "requests.csv"          # example: what to make, instead of the two above
# generator = "runs/generator"       # example; default: the bundled weights
# guide = "runs/guide"               # example; default: the bundled weights
# judge = "runs/judge"               # example; default: the bundled weights
# like_real = 1_000                  # example: label sets as common as in reality, instead of the three above
# boost = 0.5                        # example: with like_real, rare sets more often; default: 0
# exclusive = false                  # whether findings not asked for must be absent
# out = "archive"
# seed = 0

[search]                             # the latent search: see `xrarchive build --help` and README
# strictness = 0.05                  # share of real radiographs that reach a finding's bar
# match = ["view"]                   # example: nuisances in which images must resemble random draws

[validate]
# radiographs = ["radiographs"]      # example; default: the bundled reference statistics
# referee = "runs/referee"           # example: measures the labels beside the judge; default: nobody does
# spaces = ["imagenet", "judge"]     # feature spaces: also imagenet-224, inception, dinov2, rad-dino, xrv

[gates]                              # what must hold before publishing: see README
# images = 500                       # from so many, fidelity, utility and privacy must be shown
# label_images = 100                 # from so many of a finding, its labels must be shown
# near_duplicates = 0.01             # largest share of images that nearly repeat another
# reached = 0.99                     # smallest share of images that the guide still puts where they were accepted
# transfer = 0.8                     # smallest lower bound, for every finding
# kid = 0.5                          # largest upper bound, as a share of what blurred radiographs score
# excess_retention = 0.7             # smallest lower bound
# nearer = 0.55                      # largest lower bound of the share nearer to training films
# reidentified = 0.02                # largest lower bound of the share recognised
# membership = 0.6                   # largest upper bound of an AUROC, for publishing weights

[publish]
# repo = "me/synthetic-chests"       # example: the dataset repository
# version = "1.0.0"                  # example: becomes the tag v1.0.0
# model_repo = "me/chest-generator"  # example: where the weights go; default: a model repository of the same name
# no_weights = false                 # whether to publish no weights
# private = false                    # whether new repositories are private
# gated = "manual"                   # example: whoever asks is let in by hand; or "auto"
# to = "/srv/archives"               # example: a folder to publish into, instead of a Hub
# sign = "keys/publisher"            # example: private SSH key that signs the manifest
"""
