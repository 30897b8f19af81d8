"""Weights at an address: fetched once, kept in torch.hub's folder, and not kept if they are none, or others."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit
from urllib.request import url2pathname

import torch

from convzoo.errors import WeightsError
from convzoo.network.files import DamagedError, read, unpacked
from convzoo.network.packages import digest_of


def read_anywhere(source: str | Path, digest: str = "", cache_dir: str | os.PathLike[str] | None = None) -> Any:
    """What a file holds that a path or a URL (``http``, ``https``, ``file``) names.

    Args:
        source: either.
        digest: of what a URL gives, or of the one file in the zip archive that it gives: ``"sha1:..."`` or
            ``"sha256:..."``, which may be cut short; by default the SHA-256 at the end of the file's name, if any.
        cache_dir: folder in which what a URL gives is kept; None for torch.hub's.

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
        return _read_url(source, url, digest, cache_dir)
    if url.scheme == "file":
        if url.netloc not in ("", "localhost"):
            raise WeightsError(f"{source!r} names a file of another machine; one of this machine is file:///path")
        return read(Path(url2pathname(url.path)), repr(source))
    if url.scheme and url.netloc and not os.path.exists(source):
        raise WeightsError(f"{source!r} is neither a file nor a URL that starts with http, https or file")
    if not source:
        raise WeightsError("the path of the weights is empty")
    return read(Path(source))


def _read_url(source: str, url: SplitResult, digest: str, cache_dir: str | os.PathLike[str] | None) -> Any:
    """Read the copy that is kept; fetch it if there is none, or if it is damaged."""
    name = Path(url.path).name
    folder = Path(torch.hub.get_dir()) / "checkpoints" if cache_dir is None else Path(cache_dir)
    in_name = re.search(r"-([0-9a-f]{8,64})(\.[a-z]+)+$", name)
    if not digest and in_name and not name.endswith(".zip"):
        digest = f"sha256:{in_name[1]}"
    # Two addresses may end alike, unless they name what is in the file, and a name may be too long for a file. What
    # torch itself has fetched is found under its own name.
    path = folder / f"{hashlib.sha256(source.encode()).hexdigest()[:8]}-{name[-100:]}"
    if in_name and os.path.exists(folder / name[-200:]):
        path = folder / name[-200:]
    called = f"{str(path)!r}, fetched from {source},"
    damaged = ""
    if os.path.exists(path):
        try:
            return read(path, called)
        except DamagedError as error:  # by whatever broke off when it was written
            damaged = f". The copy that was kept is removed: {error}"
            path.unlink(missing_ok=True)
    part = folder / f"{uuid.uuid4().hex}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shown = sys.stderr is not None and sys.stderr.isatty()
        torch.hub.download_url_to_file(source, str(part), progress=shown)
        _verify(part, digest)
        os.replace(part, path)
    except Exception as error:  # of the network, of the disk, of the digest, of an address that is none
        raise WeightsError(f"cannot fetch {source}: {error}{damaged}") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    try:
        return read(path, called)
    except DamagedError as error:
        path.unlink(missing_ok=True)
        raise WeightsError(f"{error}. It is not kept") from error


def _verify(path: Path, digest: str) -> None:
    """Raise ValueError if a file that was fetched, or the one in the archive that it is, has another digest."""
    kind, _, wanted = digest.partition(":")
    if not wanted:
        return
    found = digest_of(path, kind)
    if not found.startswith(wanted):
        with unpacked(path) as inner:
            within = digest_of(inner, kind) if inner else ""
        if not within.startswith(wanted):
            raise ValueError(
                f'invalid hash value (expected "{wanted}", got "{within or found}", {kind.upper()}); the file is not'
                " kept. If you trust it, fetch it yourself and give its path"
            )
