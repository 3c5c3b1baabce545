from __future__ import annotations

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _torchvision() -> None:
    """Let transformers and pytorch-fid import torchvision where its native part does not load, which neither needs.

    That is so where torch is built for processors and torchvision comes from an index that has only the other build.
    """
    try:
        import torchvision
    except ModuleNotFoundError:
        return
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision  # noqa: F401  (while the library is there)
