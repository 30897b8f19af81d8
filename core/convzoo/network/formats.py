"""What a file is, by its contents: one of the formats of weights, or what is often taken for them."""

from __future__ import annotations

import zipfile
from pathlib import Path

TORCH = "a file of torch.save"
SAFETENSORS = "a safetensors file"
ARCHIVE = "a zip archive of one file of weights"

SUFFIXES = {SAFETENSORS: (".safetensors",), TORCH: (".pth", ".pt", ".bin", ".ckpt", ".tar", ".th")}
"""What the names of such files end in, the usual one first. Other endings say nothing."""

ARCHIVES = {
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\x00": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
}
OTHERS = {b"\x89HDF\r\n": "an HDF5 file, as Keras writes it", b"\x93NUMPY": "a NumPy array"}
HEAD = 512
"""Bytes that tell the formats apart."""


def format_of(path: Path) -> str:
    """:data:`TORCH`, :data:`SAFETENSORS`, or else in words what the file is, with what to do about it.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head:
        return "empty"
    if not any(head):
        return "filled with zeros at its start, as a download is that was broken off"
    if head.startswith(b"PK\x03\x04"):
        return _zip(path)
    if head[0] == 0x80 and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return TORCH  # a pickle, as torch wrote them before it wrote zip archives
    if head[8:9] == b"{" and head[6:8] == b"\0\0":  # after the length of the header
        return SAFETENSORS
    for magic, words in ARCHIVES.items():
        if head.startswith(magic):
            return f"{words}: unpack it, and load what is in it"
    if head[257:262] == b"ustar":
        return "a tar archive: unpack it, and load what is in it"
    return next((words for magic, words in OTHERS.items() if head.startswith(magic)), None) or _text(head)


def _zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except OSError:
        raise
    except Exception:  # of many kinds, by what is damaged
        return "cut short or damaged: a zip archive, as torch.save writes it, without a sound end"
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner:
        return "a TorchScript program: save the state_dict() of what torch.jit.load gives"
    if "data.pkl" in inner:
        return TORCH
    if names and all(name.endswith(".npy") for name in names):
        return "an archive of NumPy arrays"
    if member(names):
        return ARCHIVE
    return f"a zip archive that torch.save did not write, with {', '.join(map(repr, names[:3])) or 'nothing'} in it"


def member(names: list[str]) -> str:
    """The one file of weights among the files of a zip archive; empty if there is none, or more than one."""
    endings = tuple(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
    found = [name for name in names if not name.endswith("/")]
    return found[0] if len(found) == 1 and found[0].endswith(endings) else ""


def _text(head: bytes) -> str:
    """What a file is that is no archive and no array."""
    text = head.decode("utf-8-sig", errors="replace").strip()
    start = repr(text[:40])
    if text.startswith("version https://git-lfs"):
        return "a pointer of Git LFS: git lfs pull gets the file itself"
    if text.startswith("<"):
        return (
            f"an HTML or XML page, which starts {start}: the address is that of a page about the file, of a login or of"
            " an error; on GitHub the link called 'Raw' leads to the file"
        )
    if text and " ".join(text.split()).isprintable():
        return f"a text, which starts {start}"
    return f"of no known format; its first bytes are {head[:8]!r}"
