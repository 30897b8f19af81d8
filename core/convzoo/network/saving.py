"""Writing a model into a folder that another process, or timm's kind of tools, can make it from again."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from convzoo.errors import OptionError, WeightsError, require_flag, said, shown
from convzoo.network.backbone import FeatureNet
from convzoo.network.keys import bare
from convzoo.network.model import ConvNet
from convzoo.network.packages import CONFIG, FILES, OURS, TOLD

VERSION = 1
"""Of what stands in the configuration's own entry."""


def save_pretrained(model: ConvNet, folder: str | os.PathLike[str], *, safe: bool = True, **told: Any) -> Path:
    """Write a model into a folder: ``create_model("local-dir:folder")`` makes it again, in whichever process.

    ``model.safetensors`` has the weights, and ``config.json`` in timm's form what the network is, with its spec: the
    options that it was composed with, a classifier of other classes, and whether it is deployed. A file that is there
    already is replaced, not written into, so that a model that was loaded from it stays what it is.

    Args:
        model: the network; compiled, or in a wrapper, as it may be.
        folder: where to; it is made if need be.
        safe: write safetensors (needs safetensors); else ``pytorch_model.bin``, as ``torch.save`` does.
        **told: further fields of ``pretrained_cfg``, such as ``license``, ``tag``, ``label_names`` or ``mean``.

    Returns:
        The folder.

    Raises:
        OptionError: ``folder`` is no path, or ``told`` cannot be written as JSON.
        WeightsError: the model is cut down to its features, or has weights without storage; safetensors is not
            installed; or the folder cannot be written to.
    """
    network = bare(model)
    if isinstance(network, FeatureNet):
        raise WeightsError("a network that is cut down to its features is not saved; save the whole one")
    if not isinstance(folder, (str, os.PathLike)) or not isinstance(os.fspath(folder), str) or not os.fspath(folder):
        raise OptionError(f"folder={shown(folder)}: expected the path of a folder")
    state = {key: value for key, value in network.state_dict().items() if isinstance(value, torch.Tensor)}
    if waiting := [key for key, value in state.items() if value.is_meta]:
        raise WeightsError(f"{network.spec.name} has {len(waiting)} tensors without storage, {waiting[0]} among them")
    try:
        text = json.dumps(configuration(network, told), indent=2)
    except (TypeError, ValueError) as error:
        raise OptionError(f"what is told of the model cannot be written as JSON: {error}") from None
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        # Tensors may be views into one memory, which safetensors refuses.
        state = {
            key: value.detach().to("cpu", memory_format=torch.contiguous_format).clone() for key, value in state.items()
        }
        _replace(path / FILES[0 if require_flag("safe", safe) else 1], _writer(state, safe))
        _replace(path / CONFIG, lambda to: to.write_text(text + "\n", encoding="utf-8"))
        (path / FILES[1 if safe else 0]).unlink(missing_ok=True)
    except (OSError, ValueError) as error:  # of the disk, and of names that cannot be a file's
        raise WeightsError(f"{str(path)!r} cannot be written: {said(error)}") from error
    return path


def configuration(model: ConvNet, told: Mapping[str, Any]) -> dict[str, Any]:
    """What ``config.json`` holds: timm's fields, and the spec and form of the network."""
    spec, cfg = model.spec, model.default_cfg
    known = {key: cfg[key] for key in (*TOLD, "first_conv", "classifier") if key in cfg}
    return {
        "architecture": spec.name,
        "num_classes": model.num_classes,
        "num_features": model.num_features,
        "global_pool": getattr(model.head, "global_pool", "avg"),
        "pretrained_cfg": {**known, **told, "num_classes": model.num_classes},
        OURS: {"version": VERSION, "deployed": model.deployed, "spec": spec.to_dict()},
    }


def _writer(state: dict[str, torch.Tensor], safe: bool) -> Callable[[Path], object]:
    if not safe:
        return lambda to: torch.save(state, to)
    try:
        from safetensors.torch import save_file
    except ImportError as error:
        raise WeightsError("this needs safetensors: pip install 'convzoo[safetensors]', or safe=False") from error
    return lambda to: save_file(state, to, metadata={"format": "pt"})


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside ``path``, and put it in its place when it is whole."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    os.close(handle)
    part = Path(name)
    try:
        write(part)
        os.chmod(part, 0o666 & ~_umask())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _umask() -> int:
    """The permissions that new files do not get, which only setting tells."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
