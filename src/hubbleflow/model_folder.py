"""A trained model on disk: a folder that can be opened without running anything it brings.

    config.json         format number, model name, every constructor argument, stretch, conditions, survey, data hash, seed, versions
    model.safetensors   the averaged weights, in float32 or float16; its header repeats the SHA-256 of config.json, so that the two cannot
                        drift apart
    README.md           a model card written from the config
    train_state.pt      for resuming only; read with weights_only=True
    log.jsonl           one line of training a row

Nothing is pickled. A folder that holds a pickle is refused: opening somebody's generator must not be able to run code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from hubbleflow.errors import InputError
from hubbleflow.files import atomic_path, content_hash, without_nan, write_json

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
CONFIG, WEIGHTS, CARD, LOG, STATE = "config.json", "model.safetensors", "README.md", "log.jsonl", "train_state.pt"
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib")


def config_hash(config: Mapping[str, Any]) -> str:
    """SHA-256 of a config, independent of the order and layout of its JSON."""
    return content_hash(json.dumps(without_nan(dict(config)), sort_keys=True))


def write_folder(
    folder: str | os.PathLike[str], config: Mapping[str, Any], weights: Mapping[str, Tensor], metadata: Mapping[str, str], card: str
) -> None:
    """Write config, weights and card, each atomically, the weights last: a folder is opened by its weights.

    Raises:
        InputError: the folder cannot be written; what was there before is untouched.
    """
    folder = Path(folder)
    write_json(folder / CONFIG, dict(config))
    with atomic_path(folder / CARD) as temporary:
        temporary.write_text(card)
    header = {"format": "pt", "config_sha256": config_hash(config), **metadata}
    with atomic_path(folder / WEIGHTS) as temporary:
        try:
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, temporary, header)
            temporary.chmod((folder / CONFIG).stat().st_mode)  # safetensors lets nobody but the owner read
        except SafetensorError as error:  # how it reports a full disk
            raise OSError(str(error)) from error


def halved(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights to be kept in float16: half the bytes, eleven bits of each number; a model that is opened takes them back to float32.

    Raises:
        InputError: a number is too large for float16, whose largest is 65504.

    Example:
        >>> halved({"weight": torch.tensor([1.0, 0.1])})["weight"].float().tolist()
        [1.0, 0.0999755859375]
    """
    short = {name: tensor.half() if tensor.dtype == torch.float32 else tensor for name, tensor in weights.items()}
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not torch.equal(short[name].isfinite(), tensor.isfinite()):
            raise InputError(f"weights {name!r} reach {tensor.abs().max().item():.3g}, more than float16 can hold: save them in float32")
    return short


def read_config(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The config of a folder.

    Raises:
        InputError: no folder, no config, not JSON, or a format that this version does not know.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise InputError(f"{folder} {what}: expected the folder of a trained model, as 'hubbleflow train' writes it")
    refuse_pickles(folder)
    path = folder / CONFIG
    if not path.exists():
        raise InputError(f"{folder} has no {CONFIG}: it is not the folder of a trained model")
    try:
        config = json.loads(path.read_text())
        number = config["format"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged: it is not the JSON that 'hubbleflow train' writes") from error
    if number != FORMAT:
        raise InputError(f"{path} has format {number}, this version of hubbleflow reads format {FORMAT}: update hubbleflow")
    return config


def refuse_pickles(folder: Path) -> None:
    """Raise InputError if the folder holds anything that could run code when loaded."""
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in PICKLES and path.name != STATE:
            raise InputError(
                f"{folder} holds a pickle ({path.name}), which could run code when opened: models here are {CONFIG} and {WEIGHTS} only"
            )


def read_weights(folder: str | os.PathLike[str], config: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Weights and the safetensors header of a folder.

    Raises:
        InputError: no weights, truncated or damaged ones, or a config that was changed since they were written.
    """
    path = Path(folder) / WEIGHTS
    if not path.exists():
        raise InputError(f"{folder} has no {WEIGHTS}: the training has not saved yet, or the file was lost")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is truncated or damaged: {str(error).splitlines()[0]}") from error
    if header.get("config_sha256") != config_hash(config):
        raise InputError(f"{Path(folder) / CONFIG} has been changed since {WEIGHTS} was written: restore it, or train again")
    return weights, header


def model_card(config: Mapping[str, Any], title: str, n_parameters: int, use: str) -> str:
    """README.md of a folder, written from its config; `use`: commands, and what a user must know."""
    conditions = "\n".join(
        f"- `{column['name']}`: {', '.join(column['classes'])}"
        if column["classes"]
        else f"- `{column['name']}`: {column['low']:.4g} to {column['high']:.4g}"
        for column in config["conditions"]["columns"]
    )
    training, survey = config["training"], config["survey"]
    return f"""---
library_name: hubbleflow
tags: [astronomy, galaxies, {config["model"]}]
---
# {title}: {survey["name"]} galaxies

{n_parameters:,} parameters, {config["paper"]}.

- images: {len(survey["bands"])} x {config["image_size"]} x {config["image_size"]} ({", ".join(survey["bands"])}), {survey["unit"]}
- stretch: {config["stretch"]["name"]}
- trained on {training["n"]:,} galaxies, data {training["data_hash"][:16]}, seed {training["seed"]}

Conditions:
{conditions or "- none"}

{use}

Written by hubbleflow {config["versions"]["hubbleflow"]}, torch {config["versions"]["torch"]}.
"""
