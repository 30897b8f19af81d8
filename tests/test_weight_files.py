"""A file of weights is read from a path or an address, or named as what it is instead."""

from __future__ import annotations

import argparse
import gzip
import hashlib
import http.server
import io
import os
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from safetensors.torch import save_file

from convzoo import WeightsError, create_model
from convzoo.network.weights import load_weights

from .tiny import State, assert_equal, copied, refused, tiny, trained, trained_state


@pytest.fixture
def state() -> State:
    return trained_state()


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


class Server:
    """A web server that gives the files of a folder, and counts how often it is asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.asked = 0
        outer = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked += 1
                super().do_GET()

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        threading.Thread(target=partial(self.server.serve_forever, poll_interval=0.01), daemon=True).start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/{path}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "served")
    yield server
    server.close()


def save(state: State, path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


# Paths and addresses


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors", "weights", "a #b?c;d e.pt"])
def test_a_file_loads_by_path_and_by_address(state: State, server: Server, name: str) -> None:
    path = save(state, server.folder / name)
    uri = path.as_uri()
    for source in (path, str(path), uri, server.url(uri.rpartition("/")[2])):
        model = tiny()
        assert load_weights(model, source).fits
        assert_equal(model.state_dict(), state)


def test_safetensors_without_an_ending_load(state: State, tmp_path: Path) -> None:
    path = save(state, tmp_path / "weights.safetensors").rename(tmp_path / "weights")
    assert load_weights(tiny(), path).fits


def test_create_model_takes_a_file(state: State, tmp_path: Path) -> None:
    assert_equal(tiny(weights=str(save(state, tmp_path / "weights.pth"))).state_dict(), state)


def test_a_missing_file_is_an_error_before_a_network_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convzoo.building.builder.build", lambda *_, **__: pytest.fail("it is built"))
    with pytest.raises(WeightsError, match=r"there is no weights file 'none\.pth'"):
        create_model("resnest269", weights="none.pth")


def test_a_file_address_is_read_anew_each_time(state: State, tmp_path: Path, hub: Path) -> None:
    path = save({key: torch.zeros_like(value) for key, value in state.items()}, tmp_path / "weights.pth")
    load_weights(tiny(), path.as_uri())
    save(state, path)
    model = tiny()
    load_weights(model, path.as_uri())
    assert_equal(model.state_dict(), state)
    assert not hub.exists()


def test_a_web_address_is_fetched_once_and_kept(state: State, server: Server, hub: Path) -> None:
    path = save(state, server.folder / "weights.pth")
    load_weights(tiny(), server.url(path.name))
    path.unlink()
    assert len(list(hub.iterdir())) == 1
    assert load_weights(tiny(), server.url(path.name)).fits
    assert server.asked == 1


def test_two_addresses_whose_files_have_one_name_are_two_files(state: State, server: Server) -> None:
    other = copied(state)
    other["head.fc.bias"] += 1
    for folder, content in (("one", state), ("two", other)):
        (server.folder / folder).mkdir()
        save(content, server.folder / folder / "model.safetensors")
        model = tiny()
        load_weights(model, server.url(f"{folder}/model.safetensors"))
        assert_equal(model.state_dict(), content)


def test_an_address_may_end_in_a_name_too_long_for_a_file(server: Server, state: State) -> None:
    assert "404" in refused(tiny(), server.url(f"{'x' * 5000}.pth"))


def test_the_digest_in_a_name_is_checked(state: State, server: Server, hub: Path) -> None:
    path = save(state, server.folder / "weights.pth")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for length in (8, 64):
        path = path.rename(server.folder / f"weights-{digest[:length]}.pth")
        assert load_weights(tiny(), server.url(path.name)).fits
    wrong = path.rename(server.folder / f"weights-{digest[8:16]}.pth")
    for _ in range(2):  # what was refused is not kept
        assert digest[8:16] in refused(tiny(), server.url(wrong.name))
    assert len(list(hub.iterdir())) == 2
    assert load_weights(tiny(), wrong).fits  # only what is fetched is checked


@pytest.mark.parametrize("length", [0, 100, -100], ids=["empty", "its start", "without its end"])
def test_a_damaged_copy_is_fetched_again(state: State, server: Server, hub: Path, length: int) -> None:
    path = save(state, server.folder / "weights.pth")
    load_weights(tiny(), server.url(path.name))
    (kept,) = hub.iterdir()
    kept.write_bytes(kept.read_bytes()[:length])
    assert load_weights(tiny(), server.url(path.name)).fits
    kept.write_bytes(b"")
    path.unlink()
    message = refused(tiny(), server.url(path.name))
    assert "404" in message
    assert "The copy that was kept is removed" in message
    assert list(hub.iterdir()) == []


def test_what_is_fetched_and_is_no_file_of_weights_is_not_kept(server: Server, hub: Path) -> None:
    page = server.folder / "model.pth"
    page.write_text("\n<!DOCTYPE html><html><title>Sign in</title></html>")
    message = refused(tiny(), server.url(page.name))
    assert server.url(page.name) in message
    assert "an HTML or XML page, which starts '<!DOCTYPE html>" in message
    assert list(hub.iterdir()) == []


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:1/x.pth",
        "http://[::1/x.pth",
        "http://a b/x.pth",
        "s3://bucket/x.pth",
        "file://elsewhere/x.pth",
    ],
)
def test_an_address_that_gives_nothing_is_refused(address: str) -> None:
    assert address in refused(tiny(), address)


def test_a_folder_for_downloads_that_cannot_be_made_is_named(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "file"))
    assert str(tmp_path / "file") in refused(tiny(), server.url("weights.pth"))


# What cannot be opened


@pytest.mark.parametrize("name", ["none.pth", "none.safetensors", "folder/none.pth"])
def test_a_file_that_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    for source in (str(tmp_path / name), tmp_path / name, (tmp_path / name).as_uri()):
        message = refused(tiny(), source)
        assert "there is no weights file" in message
        assert name in message


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    assert "a folder" in refused(tiny(), tmp_path)
    assert "a folder" in refused(tiny(), tmp_path.as_uri())
    os.mkfifo(tmp_path / "pipe.pth")  # opening it would wait for ever
    for path in (tmp_path / "pipe.pth", "/dev/zero"):
        assert "no regular file" in refused(tiny(), path)


@pytest.mark.parametrize("path", ["", "x" * 300, "x/" * 5000, "a\0b.pth", "\udcff\ud800.pth", "file:///a%00b"])
def test_a_path_that_cannot_be_one_is_refused(path: str) -> None:
    assert len(refused(tiny(), path)) < 400


def test_a_file_that_may_not_be_read_is_refused(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(state, tmp_path / "weights.pth")

    def denied(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)  # whoever runs this may be allowed everything
    message = refused(tiny(), path)
    assert "weights.pth" in message
    assert "Permission denied" in message


# What is something else


def zipped(*names: str) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return memory.getvalue()


def tarred() -> bytes:
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights.pth"))
    return memory.getvalue()


def arrays() -> bytes:
    memory = io.BytesIO()
    numpy.savez(memory, weight=numpy.ones(3))
    return memory.getvalue()


CONTENTS = {
    "empty": (b"", "empty"),
    "zeros": (bytes(1000), "zeros"),
    "page": (b"\xef\xbb\xbf <html>", "HTML"),
    "error of a store": (
        b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
        "XML page, which starts",
    ),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n", "git lfs pull"),
    "text": (b"404: Not Found", "text, which starts '404: Not Found'"),
    "json": (b'{"error": "no such model"}\n', "text"),
    "gzip": (gzip.compress(b"weights"), "gzip archive: unpack"),
    "tar": (tarred(), "tar archive: unpack"),
    "zip": (zipped("readme.txt"), "zip archive that torch.save did not write, with 'readme.txt'"),
    "arrays": (arrays(), "NumPy"),
    "program": (zipped("model/data.pkl", "model/constants.pkl", "model/code/x.py"), "TorchScript.*state_dict"),
    "a zip without its list": (zipped("a/data.pkl").replace(b"PK\x01\x02", b"PK\x01\x09"), "cut short or damaged"),
    "half a zip": (b"PK\x03\x04" + b"x" * 500, "cut short or damaged"),
    "noise": (bytes(range(1, 255)) * 9, "no known format"),
}


@pytest.mark.parametrize("name", ["other.pth", "other.safetensors"])
@pytest.mark.parametrize("content", CONTENTS)
def test_a_file_that_is_something_else_is_named_as_such(tmp_path: Path, name: str, content: str) -> None:
    data, words = CONTENTS[content]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(WeightsError, match=words) as caught:
        load_weights(tiny(), tmp_path / name)
    assert name in str(caught.value)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_misnamed_file_is_named_as_such(state: State, tmp_path: Path, legacy: bool) -> None:
    torch.save(state, tmp_path / "torch.safetensors", _use_new_zipfile_serialization=not legacy)
    assert "is a file of torch.save, but" in refused(tiny(), tmp_path / "torch.safetensors")
    save(state, tmp_path / "weights.safetensors").rename(tmp_path / "weights.pth")
    message = refused(tiny(), tmp_path / "weights.pth")
    assert "is a safetensors file, but" in message
    assert "*.safetensors" in message


@pytest.mark.parametrize("content", [b"not weights", b"\x80\x02" + b"x" * 99, b"\x80\x02."])
@pytest.mark.parametrize("name", ["garbage.pth", "garbage.safetensors"])
def test_a_file_that_holds_something_else_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert name in refused(tiny(), tmp_path / name)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_a_truncated_file_is_refused(state: State, tmp_path: Path, name: str, legacy: bool) -> None:
    path = tmp_path / name
    save_file(state, path) if "safe" in name else torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    whole = path.read_bytes()
    for length in (len(whole) - 100, len(whole) // 2, 600, 20):
        path.write_bytes(whole[:length])
        message = refused(tiny(), path)
        assert name in message
        assert "weights_only" not in message


def test_files_of_older_torch_load(state: State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert load_weights(tiny(), tmp_path / "old.pth").fits


# What holds more than tensors


class Code:
    """A pickle that runs code when it is read without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_with_code_is_refused_and_not_run(state: State, tmp_path: Path, legacy: bool) -> None:
    witness, path = tmp_path / "witness", tmp_path / "code.pth"
    torch.save({**state, "extra": Code(witness)}, path, _use_new_zipfile_serialization=not legacy)
    message = refused(tiny(), path)
    assert "code.pth" in message
    assert "holds more than tensors" in message
    assert "touch" in message or "getattr" in message
    assert "state_dict()" in message
    assert "weights_only" not in message
    assert not witness.exists()
    torch.load(path, weights_only=False)
    assert witness.exists()  # so that the file was a danger


def test_a_pickled_network_is_refused_with_how_to_convert_it(tmp_path: Path, server: Server, hub: Path) -> None:
    torch.save(trained().stem, server.folder / "stem.pth")
    message = refused(tiny(), server.url("stem.pth"))
    assert "convzoo.resnet.stems.Stem" in message
    assert "save the network's state_dict()" in message
    (kept,) = hub.iterdir()  # for whoever trusts it
    assert str(kept) in message


def test_the_arguments_of_a_training_may_stand_in_its_checkpoint(state: State, tmp_path: Path) -> None:
    """As in those of timm's and torchvision's own training."""
    path = tmp_path / "last.pth.tar"
    torch.save({"state_dict": state, "args": argparse.Namespace(lr=0.1)}, path)
    assert load_weights(tiny(), path).entry == "state_dict"
    torch.save({"state_dict": state, "args": argparse.Namespace(data=path)}, path)
    assert "code of pathlib.PosixPath would be run" in refused(tiny(), path)


@pytest.mark.parametrize(
    "content", [torch.ones(3), [torch.ones(3)], {}, {"epoch": 3}, {"state_dict": {}}, {0: 1}, None], ids=str
)
def test_a_file_without_a_state_dict_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "other.pth")
    assert "other.pth" in refused(tiny(), tmp_path / "other.pth")


def test_safetensors_that_is_not_installed_is_named(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(state, tmp_path / "weights.safetensors")
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    assert "pip install 'convzoo[safetensors]'" in refused(tiny(), path)
