"""Reading a file of weights, without running code that is in it."""

from __future__ import annotations

import argparse
import contextlib
import os
import pickle
import re
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from convzoo.errors import WeightsError, first_of
from convzoo.network.formats import ARCHIVE, SAFETENSORS, SUFFIXES, TORCH, format_of, member

HARMLESS: list[Any] = [argparse.Namespace]
"""What may stand beside tensors: the arguments of the training, which timm's and torchvision's own checkpoints have."""


class DamagedError(WeightsError):
    """A file that is not, or no longer, what a file of weights is."""


def read(path: Path, name: str = "") -> Any:
    """What a file of weights holds, all tensors on the CPU.

    Args:
        path: of the file.
        name: what errors call it; its path by default.

    Raises:
        DamagedError: its contents are not those of a file of weights.
        WeightsError: there is no such file, it cannot be opened, it is misnamed, or it holds more than tensors.
    """
    name = name or repr(str(path))
    try:
        mode = os.stat(path).st_mode
        kind = format_of(path) if stat.S_ISREG(mode) else ""
    except FileNotFoundError:
        raise WeightsError(f"there is no weights file {name}") from None
    except (OSError, ValueError) as error:  # ValueError: a path that cannot be one, with a NUL for example
        raise WeightsError(f"{_short(name)} cannot be opened: {getattr(error, 'strerror', None) or error}") from None
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise WeightsError(f"{name} is {what}, not a file of weights")
    if kind == ARCHIVE:
        with unpacked(path) as inner:
            if inner is None:
                raise DamagedError(f"{name} is {ARCHIVE} that is cut short or damaged")
            return read(inner, f"{inner.name!r} in {name}")
    if kind not in SUFFIXES:
        raise DamagedError(f"{name} holds no weights: it is {kind}")
    for other, suffixes in SUFFIXES.items():
        if other != kind and path.suffix in suffixes:
            raise WeightsError(f"{name} is {kind}, but is named like {other}: rename it to *{SUFFIXES[kind][0]}")
    return _safetensors(path, name) if kind == SAFETENSORS else _torch(path, name)


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[Path | None]:
    """The one file of weights in a zip archive, as a file that is gone in the end; None if it is no such archive."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        inner: Path | None = None
        try:
            with zipfile.ZipFile(path) as archive:
                if name := member(archive.namelist()):
                    inner = Path(folder) / Path(name).name
                    with archive.open(name) as packed, inner.open("wb") as file:
                        shutil.copyfileobj(packed, file, 1 << 20)
        except (OSError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile):
            inner = None
        except Exception as error:  # of the libraries that unpack
            raise DamagedError(f"{str(path)!r} is a zip archive that is damaged: {error}") from error
        yield inner


def _short(name: str) -> str:
    return name if len(name) <= 200 else f"{name[:150]}… ({len(name)} characters)"


def _safetensors(path: Path, name: str) -> Any:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise WeightsError(f"{name} needs safetensors: pip install 'convzoo[safetensors]'") from error
    try:
        return load_file(path)
    except Exception as error:
        raise DamagedError(f"{name} is {SAFETENSORS} that is cut short or damaged: {error}") from error


def _torch(path: Path, name: str) -> Any:
    try:
        with torch.serialization.safe_globals(HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's own text advises to read the file whatever it does, and so is not handed on.
        if needed := sorted(set(re.findall(r"GLOBAL ([\w.]+)", str(error)) + _needed(path))):
            raise WeightsError(
                f"{name} holds more than tensors: to read it, code of {', '.join(first_of(needed))} would be run. If"
                " you trust it, open it with the program that wrote it, save the network's state_dict() and load that"
            ) from None
        raise DamagedError(f"{name} is a pickle that is damaged, or of more than tensors and plain values") from None
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        reason = type(error).__name__ if not reason or "weights_only" in reason else reason
        raise DamagedError(f"{name} is {TORCH} that is cut short or damaged: {reason}") from error


def _needed(path: Path) -> list[str]:
    """What a file would call beside what only makes tensors; nothing if it is too old to tell without reading it."""
    try:
        with torch.serialization.safe_globals(HARMLESS):
            return list(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:
        return []
