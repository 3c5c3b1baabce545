"""torchxrayvision's DenseNet-121 as one more network of our classifier files.

In: float [N, 1, H, W] in [-1, 1]. Out: raw logits [N, K + J]. Called by `networks.make_network`; files for it are made
by `xrv_import`. Needs the extra: pip install "xrarchive[xrv]".

The protocol, which every architecture keeps, ours and theirs, and which is all that the rest knows of a network:

    network.features(images)     [N, 1, H, W] in [-1, 1] -> [N, D]
    network(images)              -> logits [N, outputs], never probabilities, differentiable in the images
    network.state_dict()         the tensors `member0.*` of a weight file

What else a use needs stands beside the network in its file and is read by `load_classifier`, the same for all: scale
and offset (calibrated logits), thresholds (probabilities, NaN = cannot be called), vocabulary, and the input size in
px. The range is [-1, 1] for all; a network that wants another, as torchxrayvision's [-1024, 1024], makes it itself.

*Why raw*: torchxrayvision passes logits through a sigmoid and then bends them so that its own operating point becomes
0.5 (`op_norm`). Gradients vanish there, and the thresholds are ours: fitted on the radiographs of the set.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xrarchive.errors import InputDataError

# Side and range of the images all published DenseNets were trained on (torchxrayvision 1.5.7, models.py, utils.py).
INPUT_PX = 224
_WHITE = 1024.0
# Of probabilities that a finding is there: below this the logit of their absence is no longer a finite float32.
_LEAST = 1e-12


class XrvNetwork(nn.Module):
    """torchxrayvision's DenseNet-121 with a row of its last layer for each of our outputs.

    Outputs it has no head for are 0 and have no gradient. It has none for `No Finding`, always our output 0, which is
    derived: absent are all findings that have a head, as if they were independent, 1 - P = 1 - (1 - p1)(1 - p2)...
    That is smooth, so that a guide can steer by it; calibration and figures on real radiographs say what it is worth.
    """

    headed: Tensor

    def __init__(self, outputs: int) -> None:
        super().__init__()
        # Neither weights (it would download them) nor op_threshs nor apply_sigmoid: raw logits.
        self.densenet = require_xrv().DenseNet(num_classes=outputs)
        # float32 [outputs], 1 = has a head of its own.
        self.register_buffer("headed", torch.zeros(outputs))

    def features(self, images: Tensor) -> Tensor:
        """[N, 1, H, W] in [-1, 1] -> [N, 1024]."""
        if images.shape[-2:] != (INPUT_PX, INPUT_PX):
            images = F.interpolate(images, size=(INPUT_PX, INPUT_PX), mode="bilinear", antialias=True)
        return self.densenet.features2(images * _WHITE)  # type: ignore[no-any-return]

    def forward(self, images: Tensor) -> Tensor:
        """[N, 1, H, W] in [-1, 1] -> raw logits [N, outputs]."""
        logits = self.densenet.classifier(self.features(images)) * self.headed
        return torch.cat([absence(logits[:, 1:], self.headed[1:]), logits[:, 1:]], dim=1)


def absence(logits: Tensor, counted: Tensor) -> Tensor:
    """The logit [N, 1] that none of the independent findings with these logits [N, K] is there.

    Args:
        logits: [N, K].
        counted: float [K], 1 = take part, 0 = leave out.
    """
    # log P = -sum(softplus), and logit P = log P - log(1 - P).
    minus_log = (F.softplus(logits) * counted).sum(dim=1, keepdim=True)
    return -minus_log - torch.log((-torch.expm1(-minus_log)).clamp(min=_LEAST))


def require_xrv() -> Any:
    """The module `torchxrayvision.models`.

    Raises:
        InputDataError: If it is not installed or cannot be imported.
    """
    try:
        with warnings.catch_warnings():  # it would silence those of the whole process for good
            warnings.simplefilter("ignore")
            from torchxrayvision import models
    except ModuleNotFoundError as err:
        raise InputDataError(
            f"Classifiers of torchxrayvision need a package that is not installed: {err.name}.",
            fix='Run: pip install "xrarchive[xrv]"',
        ) from err
    except (ImportError, RuntimeError, OSError) as err:
        raise InputDataError(
            f"torchxrayvision is installed but cannot be imported: {err}.",
            fix="Mostly torchvision was built for another torch: install both from one index, for processors "
            "pip install --force-reinstall torch torchvision --index-url https://download.pytorch.org/whl/cpu",
        ) from err
    return models
