"""State dicts in files, on disk or at a URL."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch

from convzoo.errors import WeightsError


def state_dict(source: str | Path | Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The tensors by name that a mapping, a file or the file at a URL holds, maybe in a wrapper.

    Raises:
        WeightsError: there are none, or it cannot be found, fetched or read.
    """
    found = source if isinstance(source, Mapping) else read(source)
    name = "the mapping" if isinstance(source, Mapping) else str(source)
    for wrapper in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
    items = found.items() if isinstance(found, Mapping) else ()
    state = {str(key).removeprefix("module."): value for key, value in items if isinstance(value, torch.Tensor)}
    if not state:
        raise WeightsError(
            f"{name} holds no tensors by name; expected a state dict, maybe under 'state_dict' or 'model'"
        )
    if empty := [key for key, value in state.items() if value.is_meta]:
        raise WeightsError(f"{len(empty)} tensors of {name}, {empty[0]} among them, are on the meta device: no values")
    return state


def read(source: str | Path) -> Any:
    """What a weights file, or the file at a URL, holds.

    Raises:
        WeightsError: it cannot be found, fetched or read.
    """
    if not isinstance(source, (str, Path)):
        raise WeightsError(f"weights are a state dict, a file or a URL, not {source!r}")
    path = _fetched(str(source)) if urlparse(str(source)).scheme in ("http", "https", "file") else Path(source)
    if not path.is_file():
        raise WeightsError(f"there is no weights file {str(source)!r}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except ImportError as error:
        raise WeightsError(f"{path.name} needs safetensors: pip install 'convzoo[safetensors]'") from error
    except Exception as error:
        raise WeightsError(f"{path} cannot be read as weights: {error}") from error
    return loaded


def _fetched(url: str) -> Path:
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    # Two URLs may end alike.
    name = Path(urlparse(url).path).name
    path = folder / f"{hashlib.sha256(url.encode()).hexdigest()[:8]}-{name}"
    if not path.exists():
        digest = re.search(r"-([0-9a-f]{8,64})\.[a-z]+$", name)
        try:
            torch.hub.download_url_to_file(url, str(path), digest[1] if digest else None, progress=False)
        except (OSError, RuntimeError) as error:
            raise WeightsError(f"cannot fetch {url}: {error}") from error
    return path
