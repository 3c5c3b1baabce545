"""The space `xrv`: torchxrayvision's DenseNet-121, trained on chest radiographs of seven public sets.

Its weights are a pickled model, which is opened in a process of its own where nothing of it runs. They come from
torchxrayvision's own folder or a file that is named; nothing is fetched here. Needs the extra: "xrarchive[xrv]".
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from torch import Tensor

from xrarchive.classifier import xrv
from xrarchive.errors import InputDataError
from xrarchive.features.space import Network, Space, resize, torch_network
from xrarchive.files import sha256_file
from xrarchive.weights import channels_last

XRV = "xrv"
FEATURE_COUNT = 1024
# Which of torchxrayvision's weights: those of most radiographs.
NAME = "densenet121-res224-all"
# Where torchxrayvision keeps what it fetched (1.5.7, utils.py).
FOLDER = Path("~/.torchxrayvision/models_data")

_TITLE = "torchxrayvision DenseNet-121, {px} px bilinear input, 1,024-d average pooling"
_BATCH = 8
_GREY = 127.5


def xrv_space(weights: Path | None = None) -> Space:
    """The space `xrv`.

    Args:
        weights: torchxrayvision's file; None = the one of `NAME` in `FOLDER`.

    Raises:
        InputDataError: If it is not there, or torchxrayvision is not installed.
    """
    path = weights or FOLDER.expanduser() / Path(xrv.require_xrv().model_urls[NAME]["weights_url"]).name
    if not path.is_file():
        raise InputDataError(
            f"The weights of the space {XRV!r} are not at {path}.",
            fix="Fetch them once, python -c \"import torchxrayvision as t; t.models.DenseNet(weights='"
            + NAME
            + "')\", "
            f"or name the file: --space {XRV}=FILE.",
            path=path,
        )
    return Space(XRV, _TITLE.format(px=xrv.INPUT_PX), FEATURE_COUNT, sha256_file(path), partial(_load, path), _BATCH)


def _load(path: Path) -> Network:
    """The network before its heads, in evaluation mode.

    Raises:
        InputDataError: If the file is no DenseNet of torchxrayvision.
    """
    from xrarchive.gan.adopt.pickles import open_checkpoint

    tensors = open_checkpoint(path, kind="xrv").tensors
    network = xrv.XrvNetwork(len(tensors["classifier.weight"]))
    theirs = {name: tensor for name, tensor in tensors.items() if name != "op_threshs"}
    lost = network.densenet.load_state_dict(theirs, strict=False)
    wrong = [name for name in lost.missing_keys if not name.endswith("num_batches_tracked")] + lost.unexpected_keys
    if wrong:
        raise InputDataError(
            f"{path} does not hold torchxrayvision's DenseNet-121: tensor {wrong[0]} is missing or strange.",
            fix="Fetch the file again.",
            path=path,
        )
    network = channels_last(network.eval().requires_grad_(False))

    def prepare(pixels: Tensor) -> Tensor:
        return resize(pixels, xrv.INPUT_PX, "bilinear") / _GREY - 1

    return torch_network(network.features, prepare)
