from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import reference_gan_zoo
import reference_pro_gan_pth
import reference_segal
import torch
from torch import Tensor

from xrarchive import pipeline
from xrarchive.building import making
from xrarchive.errors import InputDataError, PlanChangedError
from xrarchive.gan.adopt import child, pickles
from xrarchive.gan.adopt.adopting import adopt_weights, fit_widths
from xrarchive.gan.adopt.pickles import open_checkpoint
from xrarchive.gan.snapshots import GeneratorSnapshot, load_snapshot
from xrarchive.synthesis import open_studio

LATENT = 5
WIDTHS = {16: (8, 8, 6), 32: (8, 8, 6, 3)}  # min(8, 96 // px)
# Images are a few units large, and 1e-4 is to hold in the range the original has.
CLOSE = {"atol": 1e-4, "rtol": 0.0}


@pytest.fixture(autouse=True)
def here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the child's functions run in this process, which imports torch once, but for tests of the process itself."""
    if "own_process" in request.fixturenames:
        return

    def run(path: Path, stream: Any, kind: str, folder: str) -> None:
        try:
            child.extract(kind, stream, folder, apart=True)
        except child.RefusedError as refused:
            raise pickles._refused(path, kind, str(refused)) from None

    monkeypatch.setattr(pickles, "_run_child", run)


@pytest.fixture
def own_process() -> None:
    """The checkpoint is opened where it is opened in earnest."""


def latents() -> Tensor:
    return torch.randn(4, LATENT, generator=torch.Generator().manual_seed(9))


def save(path: Path, checkpoint: object) -> Path:
    torch.save(checkpoint, path)
    return path


def adopt(path: Path, kind: Any, **more: Any) -> GeneratorSnapshot:
    return load_snapshot(adopt_weights(path, path.with_suffix(".safetensors"), kind=kind, **more).out)


def segal(tmp_path: Path, widths: tuple[int, ...] = WIDTHS[16], **more: Any) -> tuple[Path, dict[str, Tensor]]:
    shadow = reference_segal.make_state(widths, LATENT)
    trained = reference_segal.make_state(widths, LATENT, seed=1)
    return save(tmp_path / "segal.pth", reference_segal.make_checkpoint(shadow, trained, **more)), shadow


@pytest.mark.parametrize("px", [16, 32])
def test_segal_s_averaged_images_in_their_own_range(tmp_path: Path, px: int) -> None:
    path, shadow = segal(tmp_path, WIDTHS[px], nimg=1200)
    snapshot = adopt(path, "segal2020")
    made = (snapshot.generator(latents()).double() + 1) / 2
    torch.testing.assert_close(made, reference_segal.generate(shadow, latents()), **CLOSE)
    assert (snapshot.settings.resolution, snapshot.settings.channels, snapshot.settings.dense_norm) == (px, 3, False)
    assert snapshot.meta["nimg"] == 1200
    assert snapshot.meta["terms"] == []
    assert snapshot.meta["origin"] == {
        "kind": "segal2020",
        "file": "segal.pth",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "network": "gen_shadow",
        "range": [0.0, 1.0],
        "folded_to_grey": False,
    }


def test_lower_resolutions_keep_their_range_too(tmp_path: Path) -> None:
    path, shadow = segal(tmp_path, WIDTHS[32])
    below = {name: value for name, value in shadow.items() if not name.startswith(("toRGB.3", "ScaleBlocks.2"))}
    made = (adopt(path, "segal2020").generator(latents(), px=16).double() + 1) / 2
    torch.testing.assert_close(made, reference_segal.generate(below, latents()), **CLOSE)


@pytest.mark.parametrize("layout", ["generator file", "bare", "bare module"])
def test_segal_s_other_files(tmp_path: Path, layout: str) -> None:
    state = reference_segal.make_state(WIDTHS[16], LATENT, channels=1)
    checkpoint = {
        "generator file": {"state_dict": state, "settings": {"channel_depth": [8, 8, 6], "leakiness": 0.2}},
        "bare": state,
        "bare module": {f"generator.{name}": value for name, value in state.items()},
    }[layout]
    made = (adopt(save(tmp_path / "g.pth", checkpoint), "segal2020").generator(latents()).double() + 1) / 2
    torch.testing.assert_close(made, reference_segal.generate(state, latents()), **CLOSE)


def test_a_checkpoint_opened_in_its_own_process(tmp_path: Path, own_process: None) -> None:  # noqa: ARG001
    averaged = reference_gan_zoo.make_state(WIDTHS[16], LATENT)
    with reference_gan_zoo.config_class() as config:
        path = save(tmp_path / "zoo.pt", reference_gan_zoo.make_checkpoint(config, averaged, averaged))
    made = adopt(path, "gan-zoo").generator(latents()).double()
    torch.testing.assert_close(made, reference_gan_zoo.generate(averaged, latents()), **CLOSE)


@pytest.mark.parametrize("px", [16, 32])
def test_gan_zoo_s_averaged_images(tmp_path: Path, px: int) -> None:
    averaged = reference_gan_zoo.make_state(WIDTHS[px], LATENT)
    with reference_gan_zoo.config_class() as config:
        trained = reference_gan_zoo.make_state(WIDTHS[px], LATENT, seed=1)
        path = save(tmp_path / "zoo.pt", reference_gan_zoo.make_checkpoint(config, averaged, trained))
    snapshot = adopt(path, "gan-zoo")
    made = snapshot.generator(latents()).double()
    torch.testing.assert_close(made, reference_gan_zoo.generate(averaged, latents()), **CLOSE)
    assert snapshot.settings.dense_norm
    assert snapshot.meta["origin"]["network"] == "avgG"
    assert snapshot.meta["origin"]["range"] == [-1.0, 1.0]


def test_weights_that_were_never_scaled_at_run_time(tmp_path: Path) -> None:
    averaged = {name: value / 3 for name, value in reference_gan_zoo.make_state(WIDTHS[16], LATENT).items()}
    with reference_gan_zoo.config_class() as config:
        checkpoint = reference_gan_zoo.make_checkpoint(config, averaged, averaged, equalizedlR=False)
        path = save(tmp_path / "zoo.pt", checkpoint)
    made = adopt(path, "gan-zoo").generator(latents()).double()
    torch.testing.assert_close(made, reference_gan_zoo.generate(averaged, latents(), equalised=False), **CLOSE)


@pytest.mark.parametrize(("px", "grown"), [(16, None), (32, None), (32, 3)])
def test_pro_gan_pth_s_averaged_images_at_the_resolution_it_grew_to(tmp_path: Path, px: int, grown: int | None) -> None:
    shadow = reference_pro_gan_pth.make_state(WIDTHS[px], LATENT, grown=grown)
    trained = reference_pro_gan_pth.make_state(WIDTHS[px], LATENT, seed=1, grown=grown)
    path = save(tmp_path / "pgp.bin", reference_pro_gan_pth.make_checkpoint(shadow, trained, LATENT))
    snapshot = adopt(path, "pro-gan-pth")
    levels = grown or len(WIDTHS[px])
    made = snapshot.generator(latents()).double()
    torch.testing.assert_close(made, reference_pro_gan_pth.generate(shadow, latents(), levels), **CLOSE)
    assert snapshot.settings.resolution == 4 << (levels - 1)
    assert snapshot.meta["origin"]["network"] == "shadow_generator"


def test_without_averaged_weights_the_trained_ones_are_taken(tmp_path: Path) -> None:
    state = reference_pro_gan_pth.make_state(WIDTHS[16], LATENT)
    checkpoint = reference_pro_gan_pth.make_checkpoint(state, state, LATENT)
    del checkpoint["shadow_generator"]
    assert adopt(save(tmp_path / "pgp.bin", checkpoint), "pro-gan-pth").meta["origin"]["network"] == "generator"


def test_grey_is_the_mean_of_the_channels(tmp_path: Path) -> None:
    path, shadow = segal(tmp_path)
    snapshot = adopt(path, "segal2020", grey=True)
    wanted = reference_segal.generate(shadow, latents()).mean(dim=1, keepdim=True)
    torch.testing.assert_close((snapshot.generator(latents()).double() + 1) / 2, wanted, **CLOSE)
    assert snapshot.settings.channels == 1


@pytest.mark.parametrize(
    ("widths", "fitted"),
    [
        ((512, 512, 512, 512, 256, 128, 64, 32, 16), (512, 16_384)),
        ((512, 512, 512, 512, 512, 256), (512, 32_768)),
        ((8, 8, 6, 3), (8, 96)),
        ((7, 7, 7), (7, 112)),
        ((4, 2, 1, 1), (4, 16)),
        ((1, 1, 1), (1, 16)),
        ((8, 4, 8), None),
        ((8, 8, 7, 2), None),
    ],
)
def test_widths_as_a_maximum_and_a_base(widths: tuple[int, ...], fitted: tuple[int, int] | None) -> None:
    assert fit_widths(widths) == fitted


@pytest.mark.parametrize("alpha", [0.25, 1.0])
def test_a_checkpoint_from_the_middle_of_a_fade_is_refused(tmp_path: Path, alpha: float) -> None:
    path, _ = segal(tmp_path, alpha=alpha)
    with pytest.raises(InputDataError, match="faded in"):
        adopt(path, "segal2020")
    state = reference_gan_zoo.make_state(WIDTHS[16], LATENT)
    with reference_gan_zoo.config_class() as config:
        path = save(tmp_path / "zoo.pt", reference_gan_zoo.make_checkpoint(config, state, state, alpha=alpha))
    with pytest.raises(InputDataError, match="faded in"):
        adopt(path, "gan-zoo")


@pytest.mark.parametrize(
    "change",
    [{"leakyReluLeak": 0.1}, {"lossCriterion": "DCGAN"}, {"categoryVectorDim": 3, "attribKeysOrder": {"a": 1}}],
)
def test_another_function_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    state = reference_gan_zoo.make_state(WIDTHS[16], LATENT)
    with reference_gan_zoo.config_class() as config:
        path = save(tmp_path / "zoo.pt", reference_gan_zoo.make_checkpoint(config, state, state, **change))
    with pytest.raises(InputDataError, match=f"its {next(iter(change))} is"):
        adopt(path, "gan-zoo")


def surplus(state: dict[str, Any]) -> None:
    state["fc.weight"] = torch.zeros(2, 2)


def missing(state: dict[str, Any]) -> None:
    del state["ScaleBlocks.1.convolv.3.module.bias"]


def misshapen(state: dict[str, Any]) -> None:
    state["ScaleBlocks.0.convolv.0.module.weight"] = torch.zeros(8, 8, 1, 1)


def flat_bias(state: dict[str, Any]) -> None:
    state["toRGB.0.module.bias"] = torch.zeros(2)


def not_a_number(state: dict[str, Any]) -> None:
    state["toRGB.2.module.weight"][0, 0] = float("nan")


def not_a_tensor(state: dict[str, Any]) -> None:
    state["toRGB.2.module.weight"] = "weights"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (surplus, r"tensors too many, the first of them fc\.weight"),
        (missing, r"expected the tensors ScaleBlocks\.1\.convolv\.3\.weight"),
        (misshapen, r"ScaleBlocks\.0\.convolv\.0\.weight as \[any, 8, 3, 3\], found \[8, 8, 1, 1\]"),
        (flat_bias, r"toRGB\.0\.bias as \[3\], found \[2\]"),
        (not_a_number, "holds NaN"),
        (not_a_tensor, "is not a plain tensor"),
    ],
)
def test_a_state_that_is_not_the_generator_s_is_refused(tmp_path: Path, spoil: Any, message: str) -> None:
    state = reference_segal.make_state(WIDTHS[16], LATENT)
    spoil(state)
    with pytest.raises(InputDataError, match=message):
        adopt(save(tmp_path / "g.pth", state), "segal2020")
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.parametrize(
    ("widths", "message"), [((8, 8), "makes 8 px images in 3 channels"), ((8, 4, 8), "has 8, 4, 8 channels")]
)
def test_generators_ours_cannot_be_are_refused(tmp_path: Path, widths: tuple[int, ...], message: str) -> None:
    path, _ = segal(tmp_path, widths)
    with pytest.raises(InputDataError, match=message):
        adopt(path, "segal2020")


def test_a_checkpoint_of_another_kind_says_what_it_holds(tmp_path: Path) -> None:
    path, _ = segal(tmp_path)
    with pytest.raises(InputDataError, match="entries are settings, state_dict"):
        adopt(path, "pro-gan-pth")


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    path, _ = segal(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputDataError, match="cannot be read as a checkpoint"):
        adopt(path, "segal2020")


def test_files_that_are_no_checkpoints_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.pth"
    path.write_bytes(b"PK\x03\x04 and no zip")
    with pytest.raises(InputDataError, match="cannot be read as a checkpoint"):
        adopt(path, "segal2020")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no checkpoint")
    with pytest.raises(InputDataError, match="was not imported"):
        adopt(path, "segal2020")
    with pytest.raises(InputDataError, match="No checkpoint to read"):
        adopt(tmp_path / "nowhere.pth", "segal2020")


class Canary:
    """Unpickled with plain pickle, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.path}",)


def test_a_pickle_that_would_run_something_is_named_and_not_run(
    tmp_path: Path,
    own_process: None,  # noqa: ARG001
) -> None:
    state = reference_segal.make_state(WIDTHS[16], LATENT) | {"more": Canary(tmp_path / "canary")}
    with pytest.raises(InputDataError, match=r"its pickle names (posix|nt)\.system"):
        adopt(save(tmp_path / "g.pth", state), "segal2020")
    assert not (tmp_path / "canary").exists()


def test_so_is_one_in_torch_s_old_format(tmp_path: Path) -> None:
    torch.save({"more": Canary(tmp_path / "canary")}, tmp_path / "g.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(InputDataError, match=r"its pickle names (posix|nt)\.system"):
        adopt(tmp_path / "g.pth", "segal2020")
    assert not (tmp_path / "canary").exists()


def test_gan_zoo_s_configuration_is_known_for_gan_zoo_only(tmp_path: Path) -> None:
    state = reference_gan_zoo.make_state(WIDTHS[16], LATENT)
    with reference_gan_zoo.config_class() as config:
        path = save(tmp_path / "zoo.pt", reference_gan_zoo.make_checkpoint(config, state, state))
    with pytest.raises(InputDataError, match=r"models\.utils\.config\.BaseConfig"):
        adopt(path, "segal2020")


def test_the_sha256_is_checked_before_anything_is_opened(tmp_path: Path) -> None:
    path, _ = segal(tmp_path)
    with pytest.raises(InputDataError, match="has the sha256"):
        adopt(path, "segal2020", sha256="00" * 32)
    assert adopt(path, "segal2020", sha256=hashlib.sha256(path.read_bytes()).hexdigest().upper())


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    path, _ = segal(tmp_path)
    adopt(path, "segal2020")
    with pytest.raises(PlanChangedError, match="is there already"):
        adopt(path, "segal2020")


PROBE = """
import os, sys
sys.path.insert(0, {folder!r})
import child
apart = child.leave_network()
child.limit(1 << 20)
sys.addaudithook(child.refuse_event)
for name, attempt in {{
    "socket": lambda: __import__("socket").socket(),
    "subprocess": lambda: __import__("subprocess").run(["true"]),
    "system": lambda: os.system("true"),
    "fork": os.fork,
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "ctypes": lambda: __import__("ctypes").CDLL(None),
    "write": lambda: open({canary!r}, "w"),
    "remove": lambda: os.remove({folder!r} + "/child.py"),
}}.items():
    try:
        attempt()
    except child.RefusedError:
        print("refused", name)
    else:
        print("ALLOWED", name)
links = [] if not os.path.exists("/sys/class/net") else open("/proc/net/dev").read().count(":")
print("apart", apart, links)
"""


def test_the_child_can_neither_connect_nor_start_nor_write(tmp_path: Path) -> None:
    script = PROBE.format(folder=str(Path(child.__file__).parent), canary=str(tmp_path / "canary"))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == ["refused"] * 8
    assert not (tmp_path / "canary").exists()
    _, apart, links = lines[-1].split()
    if apart == "True":  # nothing but the loopback, which is down
        assert links == "1"


def test_the_child_is_told_no_secret(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    own_process: None,  # noqa: ARG001
) -> None:
    seen: dict[str, str] = {}

    def record(*_args: Any, env: dict[str, str], **_more: Any) -> Any:
        seen.update(env)
        return subprocess.CompletedProcess([], 3, b'{"reason": "enough seen"}', b"")

    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setattr(subprocess, "run", record)
    path, _ = segal(tmp_path)
    with pytest.raises(InputDataError, match="enough seen"):
        open_checkpoint(path, kind="segal2020")
    assert seen["HOME"] != os.environ.get("HOME")
    assert "secret" not in seen.values()


def test_facts_are_plain_whatever_they_were() -> None:
    found = child.plain({"a": torch.tensor(2), "b": [1.5, float("nan")], "c": object(), "d": torch.zeros(3)})
    assert found == {"a": 2, "b": [1.5, "nan"], "c": "object", "d": "Tensor"}


def test_an_archive_can_be_built_with_imported_weights(tmp_path: Path, tiny_guide: Path, tiny_judge: Path) -> None:
    path, _ = segal(tmp_path)
    adopt_weights(path, tmp_path / "grey.safetensors", kind="segal2020", grey=True)
    studio = open_studio(tmp_path / "grey.safetensors", tiny_guide, tiny_judge)
    assert making._terms(studio) == sorted({*studio.guide.meta["terms"], *studio.judge.meta["terms"]})
    card = pipeline.model_card(
        {"generator": tmp_path / "grey.safetensors", "guide": tiny_guide, "judge": tiny_judge}, dataset=None
    )
    assert "imported from a segal2020 checkpoint" in card
    adopt_weights(path, tmp_path / "colour.safetensors", kind="segal2020")
    with pytest.raises(InputDataError, match="makes 3 channels") as caught:
        open_studio(tmp_path / "colour.safetensors", tiny_guide, tiny_judge)
    assert "--grey" in caught.value.fix
