"""Weights at an address: fetched once, kept in torch.hub's folder, and not kept if they are none."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit
from urllib.request import url2pathname

import torch

from convzoo.errors import WeightsError
from convzoo.network.files import DamagedError, read


def read_anywhere(source: str | Path) -> Any:
    """What a file holds that a path or a URL (``http``, ``https``, ``file``) names.

    Raises:
        WeightsError: it cannot be found, fetched or read.
    """
    if isinstance(source, Path):
        return read(source)
    try:
        url = urlsplit(source)
    except ValueError as error:
        raise WeightsError(f"{source!r} is neither a path nor a URL: {error}") from error
    if url.scheme in ("http", "https"):
        return _read_url(source, url)
    if url.scheme == "file":
        if url.netloc not in ("", "localhost"):
            raise WeightsError(f"{source!r} names a file of another machine; one of this machine is file:///path")
        return read(Path(url2pathname(url.path)), repr(source))
    if url.scheme and url.netloc and not os.path.exists(source):
        raise WeightsError(f"{source!r} is neither a file nor a URL that starts with http, https or file")
    if not source:
        raise WeightsError("the path of the weights is empty")
    return read(Path(source))


def _read_url(source: str, url: SplitResult) -> Any:
    """Read the copy that is kept; fetch it if there is none, or if it is damaged."""
    # Two addresses may end alike, and a name may be too long for a file.
    name = Path(url.path).name
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / f"{hashlib.sha256(source.encode()).hexdigest()[:8]}-{name[-100:]}"
    called = f"{str(path)!r}, fetched from {source},"
    damaged = ""
    if os.path.exists(path):
        try:
            return read(path, called)
        except DamagedError as error:  # by whatever broke off when it was written
            damaged = f". The copy that was kept is removed: {error}"
            path.unlink(missing_ok=True)
    digest = re.search(r"-([0-9a-f]{8,64})\.[a-z]+$", name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(source, str(path), digest[1] if digest else None, progress=False)
    except Exception as error:  # of the network, of the disk, of the digest, of an address that is none
        raise WeightsError(f"cannot fetch {source}: {error}{damaged}") from error
    try:
        return read(path, called)
    except DamagedError as error:
        path.unlink(missing_ok=True)
        raise WeightsError(f"{error}. It is not kept") from error
