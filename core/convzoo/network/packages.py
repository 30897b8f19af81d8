"""Folders and repositories of the Hugging Face hub with a ``config.json`` beside the weights, in timm's form."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convzoo.errors import OptionError, WeightsError, said, shown

FOLDER, HUB = "local-dir:", "hf-hub:"
CONFIG = "config.json"
FILES = ("model.safetensors", "pytorch_model.bin")
"""What weights are called in a package, the preferred one first; timm's names."""
OURS = "convzoo"
"""The entry of a configuration that timm does not read: the spec, the form and the version."""
INPUT = ("input_size", "test_input_size", "interpolation", "crop_pct", "test_crop_pct", "crop_mode", "mean", "std")
TOLD = (*INPUT, "tag", "license", "source", "label_names", "label_descriptions")
"""What of a ``pretrained_cfg`` goes into a model's ``default_cfg``."""


@dataclass(frozen=True)
class Package:
    """A folder or repository.

    Attributes:
        name: as it was asked for.
        config: its ``config.json``; empty if it has none.
        weights: the file, or None.
    """

    name: str
    config: Mapping[str, Any]
    weights: Path | None

    @property
    def num_classes(self) -> int | None:
        """Outputs of the classifier, if it says so."""
        found = self.config.get("num_classes", self._cfg().get("num_classes"))
        return found if isinstance(found, int) else None

    @property
    def input(self) -> dict[str, Any]:
        """The images that the weights are for."""
        cfg = self._cfg()
        return {key: tuple(v) if isinstance(v := cfg[key], list) else v for key in TOLD if cfg.get(key) is not None}

    def _cfg(self) -> Mapping[str, Any]:
        # Before there was a pretrained_cfg, timm wrote its fields beside the others.
        found = self.config.get("pretrained_cfg", self.config)
        return found if isinstance(found, Mapping) else {}


def is_package(text: str) -> bool:
    """Whether ``text`` reads ``local-dir:folder`` or ``hf-hub:owner/name``."""
    return text.startswith((FOLDER, HUB))


def open_package(name: str, cache_dir: str | os.PathLike[str] | None = None) -> Package:
    """The folder of ``local-dir:folder``, or the repository of ``hf-hub:owner/name[@revision]``.

    A repository's files are fetched by huggingface_hub into its own cache, and from there where there is no network.

    Args:
        name: either.
        cache_dir: where a repository's files are kept, instead of there.

    Raises:
        WeightsError: there is none, it cannot be fetched, or its configuration cannot be read.
    """
    kept = name.removeprefix(FOLDER)
    if name.startswith(FOLDER):
        folder = Path(kept).expanduser()
        try:
            there = bool(kept) and folder.is_dir()
        except (OSError, ValueError):  # a name that is too long, or that none can have
            there = False
        if not there:
            raise WeightsError(f"{shown(name)}: there is no folder {shown(str(folder))}")
        found = {file: folder / file for file in (CONFIG, *FILES) if (folder / file).is_file()}
    else:
        found = _fetch(name, *name.removeprefix(HUB).partition("@")[::2], cache_dir)
    weights = next((found[file] for file in FILES if file in found), None)
    if not found:
        raise WeightsError(f"{name!r} has none of {CONFIG}, {', '.join(FILES)}")
    return Package(name, _config(found[CONFIG]) if CONFIG in found else {}, weights)


def cache_folder(cache_dir: Any) -> str | None:
    """``cache_dir`` as text; OptionError if it is no path of a folder."""
    if cache_dir is None:
        return None
    folder = os.fspath(cache_dir) if isinstance(cache_dir, (str, os.PathLike)) else None
    if not isinstance(folder, str) or not folder or os.path.isfile(folder):
        raise OptionError(f"cache_dir={shown(cache_dir)}: expected the path of a folder")
    return os.path.expanduser(folder)


def _config(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{str(path)!r} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise WeightsError(f"{str(path)!r} is no configuration: it holds no object")
    return found


def _fetch(name: str, repository: str, revision: str, cache_dir: str | os.PathLike[str] | None) -> dict[str, Path]:
    """The configuration and the first of the files of weights that a repository has."""
    try:
        from huggingface_hub import errors, hf_hub_download, try_to_load_from_cache
    except ImportError as error:
        raise WeightsError(f"{name!r} needs huggingface_hub: pip install 'convzoo[hub]'") from error
    found: dict[str, Path] = {}
    how: dict[str, Any] = {"revision": revision or None, "cache_dir": cache_dir}
    for file in (CONFIG, *FILES):
        if found.keys() & FILES:
            break
        try:
            kept = try_to_load_from_cache(repository, file, **how)
            path = Path(hf_hub_download(repository, file, **how))
        except errors.EntryNotFoundError as error:
            if isinstance(error, errors.LocalEntryNotFoundError):
                raise WeightsError(
                    f"cannot fetch {file} of {name!r}, and there is no copy of it here: {_why(error)}"
                ) from error
            continue
        except Exception as error:  # of the network, of the disk, of names that are none
            raise WeightsError(f"cannot fetch {file} of {name!r}: {_why(error)}") from error
        if not isinstance(kept, str):
            _verify(name, path)
        found[file] = path
    return found


def _why(error: BaseException) -> str:
    return said(error.__cause__ or error)


def _verify(name: str, path: Path) -> None:
    """Compare a large file with its SHA-256, which the hub names it by in the cache; what differs is not kept."""
    blob = Path(os.path.realpath(path))
    if len(blob.name) == 64 and digest_of(blob, "sha256") != blob.name:
        blob.unlink(missing_ok=True)
        raise WeightsError(
            f"{path.name} of {name!r} is not what the hub says it is: its SHA-256 is not {blob.name}. It is not kept"
        )


def digest_of(path: Path, kind: str) -> str:
    """The digest of a file, in hexadecimal digits; ``kind`` is ``"sha1"`` or ``"sha256"``."""
    made = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            made.update(chunk)
    return made.hexdigest()
