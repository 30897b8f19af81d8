"""Published weights come from where they are, are what they should be, and are there when the network is not."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision

from convzoo import OptionError, WeightsError, WeightsWarning, create_model, load_weights, model_info, save_pretrained
from convzoo.cli.published import CIFAR, of_timm, of_torchvision
from convzoo.network.keys import reference_state_dict
from convzoo.network.worlds import worlds
from convzoo.plugins.host import registry
from convzoo.published import rows
from convzoo.testing.numerics import jitter_norms

from .commands import Capture, refused, run, run_json
from .tiny import State, assert_equal, tiny, trained

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FOLDER = Path(rows.__file__).parent


class Hub:
    """A server that gives files at any address and, under ``owner/name/resolve/revision``, as the hub does."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, 0
        folder.mkdir()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                outer.answer(self, body=False)

            def do_GET(self) -> None:
                outer.answer(self, body=True)

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=partial(self.server.serve_forever, poll_interval=0.01), daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"

    def answer(self, request: http.server.BaseHTTPRequestHandler, body: bool) -> None:
        self.asked += 1
        repository, _, rest = request.path.lstrip("/").partition("?")[0].partition("/resolve/")
        revision, _, file = rest.partition("/")
        path = self.folder / (f"{repository}/{file}" if rest else repository)
        if not path.is_file() or revision not in ("", "main", "v1", COMMIT):
            request.send_response(404)
            request.send_header("X-Error-Code", "EntryNotFound" if path.parent.is_dir() else "RepoNotFound")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        data = path.read_bytes()
        told = path.with_name(f"{path.name}.sha256")
        digest = told.read_text() if told.exists() else hashlib.sha256(data).hexdigest()
        request.send_response(200)
        request.send_header("Content-Length", str(len(data)))
        request.send_header("X-Repo-Commit", COMMIT)
        request.send_header("ETag", f'"{digest if path.suffix != ".json" else digest[:40]}"')
        request.end_headers()
        if body:
            request.wfile.write(data)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub, and no cache yet."""
    import huggingface_hub

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    hub = Hub(tmp_path / "served")
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.address)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        huggingface_hub.constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        hub.address + "/{repo_id}/resolve/{revision}/{filename}",
    )
    yield hub
    hub.close()


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that publishes a row for a variant, and nothing else for it."""

    def add(variant: str, **fields: Any) -> None:
        data = {"rows": {variant: [{"licence": "mit", "num_classes": 10, "tag": "x", **fields}]}}
        known = rows._data()
        monkeypatch.setattr(rows, "_data", lambda: [data, *({**each, "rows": {}} for each in known)])

    return add


def theirs(model: Any, dialect: str) -> State:
    """The state dict of a model under others' names."""
    names = next(world.names for world in worlds(model.spec, list(model.state_dict()), dialect))
    return {names[key]: tensor for key, tensor in model.state_dict().items()}


def started(name: str, **options: Any) -> Any:
    model = create_model(name, **options)
    jitter_norms(model)
    return model


# Addresses


def zipped(path: Path, state: State, *more: str) -> str:
    """Write a state dict into a zip archive, and give its own SHA-1."""
    torch.save(state, path.with_suffix(""))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path.with_suffix(""), path.with_suffix("").name)
        for name in more:
            archive.writestr(name, "x")
    data = path.with_suffix("").read_bytes()
    path.with_suffix("").unlink()
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def test_archives_of_pytorchcv_are_unpacked_and_compared_with_their_sha1(hub: Hub, publish: Any) -> None:
    known = started("resnet20_b", num_classes=100)
    path = hub.folder / "resnet20-2964-a5322afe.pth.zip"
    digest = zipped(path, theirs(known, "pytorchcv"))
    row = {
        "source": "pytorchcv",
        "address": f"{hub.address}/{path.name}",
        "input": {**CIFAR, "input_size": [3, 32, 32]},
    }
    publish("resnet20_b", **row, digest=f"sha1:{digest}", num_classes=100)
    model = create_model("resnet20_b", pretrained=True)
    assert model.num_classes == 100
    assert_equal(model.state_dict(), known.state_dict())
    assert model.default_cfg["std"] == CIFAR["std"]
    assert (model.default_cfg["source"], model.default_cfg["license"]) == ("pytorchcv", "mit")
    asked = hub.asked
    assert_equal(create_model("resnet20_b", weights="pytorchcv:x").state_dict(), known.state_dict())
    assert hub.asked == asked
    with pytest.warns(WeightsWarning, match="classifier"):
        assert create_model("resnet20_b", weights="pytorchcv", num_classes=7).num_classes == 7
    publish("resnet20_b", **{**row, "address": row["address"] + "?2"}, digest="sha1:" + digest[::-1], num_classes=100)
    with pytest.raises(WeightsError, match="invalid hash value"):
        create_model("resnet20_b", pretrained=True)
    assert len(list((Path(torch.hub.get_dir()) / "checkpoints").iterdir())) == 1


def test_an_archive_of_one_file_of_weights_loads_and_others_are_named(tmp_path: Path) -> None:
    state = trained().state_dict()
    zipped(tmp_path / "one.pth.zip", state)
    assert_equal(tiny(weights=tmp_path / "one.pth.zip").state_dict(), state)
    zipped(tmp_path / "two.pth.zip", state, "other.pth")
    with pytest.raises(WeightsError, match=r"a zip archive that torch\.save did not write"):
        tiny(weights=tmp_path / "two.pth.zip")
    whole = (tmp_path / "one.pth.zip").read_bytes()
    (tmp_path / "cut.pth.zip").write_bytes(whole[:200] + bytes(400) + whole[600:])
    with pytest.raises(WeightsError, match=r"damaged"):
        tiny(weights=tmp_path / "cut.pth.zip")


def test_torchvisions_files_load_from_its_cache_and_its_server(hub: Hub, publish: Any) -> None:
    known = torchvision.models.resnet18()
    torch.save(known.state_dict(), hub.folder / "made.pth")
    data = (hub.folder / "made.pth").read_bytes()
    name = f"resnet18-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    (hub.folder / "made.pth").rename(hub.folder / name)
    publish("resnet18", source="torchvision", address=f"{hub.address}/{name}", num_classes=1000)
    model = create_model("resnet18", weights="torchvision")
    assert_equal(reference_state_dict(model), known.state_dict())
    asked = hub.asked
    torch.hub.load_state_dict_from_url(f"{hub.address}/{name}", progress=False)  # torch's own copy, under its own name
    for path in (Path(torch.hub.get_dir()) / "checkpoints").glob(f"*-{name}"):
        path.unlink()
    assert hub.asked == asked + 1
    assert_equal(reference_state_dict(create_model("resnet18", weights="torchvision")), known.state_dict())
    assert hub.asked == asked + 1


def test_names_of_dense_networks_as_torchvision_published_them_load() -> None:
    model = started("densenet121")
    state = theirs(model, "torchvision before 0.3")
    assert "features.denseblock1.denselayer1.norm.1.weight" in state
    assert load_weights(create_model("densenet121", device="meta"), state).dialect == "torchvision before 0.3"


# The hub


def test_a_repository_of_timm_loads_and_then_without_a_network(
    hub: Hub, publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = timm.create_model("resnet18d", num_classes=6).eval()
    jitter_norms(known)
    timm.models.save_for_hf(known, str(hub.folder / "timm" / "resnet18d.x"), safe_serialization=True)
    images = torch.rand(1, 3, 64, 64)
    made = [create_model("hf-hub:timm/resnet18d.x"), create_model("hf-hub:timm/resnet18d.x@v1")]
    publish("resnet18d", source="timm", address="hf-hub:timm/resnet18d.x", num_classes=6)
    made += [create_model("resnet18d", pretrained=True), create_model("resnet18d", weights="timm:x")]
    for model in made:
        assert torch.equal(model.eval()(images), known(images))
        assert model.num_classes == 6
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    asked = hub.asked
    assert torch.equal(create_model("hf-hub:timm/resnet18d.x").eval()(images), known(images))
    with pytest.raises(WeightsError, match="there is no copy of it here"):
        create_model("hf-hub:timm/other")
    assert hub.asked == asked


def test_what_the_hub_does_not_vouch_for_is_not_kept(hub: Hub) -> None:
    folder = hub.folder / "me" / "mine"
    save_pretrained(trained(), folder)
    (folder / "model.safetensors.sha256").write_text("ab" * 32)
    for _ in range(2):
        with pytest.raises(WeightsError, match=r"(?s)SHA-256 is not abab.*not kept"):
            create_model("hf-hub:me/mine")
    (folder / "model.safetensors.sha256").unlink()
    assert_equal(create_model("hf-hub:me/mine").state_dict(), trained().state_dict())


@pytest.mark.parametrize("name", ["hf-hub:", "hf-hub:none", "hf-hub:no/such", "hf-hub:a/b/c", "hf-hub:me/mine@none"])
def test_a_repository_that_is_none_is_refused(hub: Hub, name: str) -> None:
    save_pretrained(trained(), hub.folder / "me" / "mine")
    with pytest.raises(WeightsError, match=r"cannot fetch|has none of"):
        create_model(name)


# What is published


def test_rows_of_timm_and_torchvision_are_those_of_the_installed_packages() -> None:
    def written(name: str) -> Any:
        return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))

    found, inputs = of_timm()
    assert json.loads(json.dumps(found)) == written("timm")["rows"]
    assert json.loads(json.dumps(inputs)) == written("timm")["inputs"]
    assert json.loads(json.dumps(of_torchvision())) == written("torchvision")["rows"]


def test_every_row_is_of_a_variant_and_says_what_it_is() -> None:
    count = 0
    for name in {variant for data in rows._data() for variant in data["rows"]}:
        assert model_info(name).spec.name == name
        assert len({row.name for row in rows.published(name)}) == len(rows.published(name))
        for row in rows.published(name):
            count += 1
            assert row.address.startswith(("https://", "hf-hub:timm/"))
            assert row.licence or row.source == "timm"  # some of which name none
            assert {"input_size", "crop_pct", "interpolation", "mean", "std"} <= row.input.keys()
            assert row.said or (row.top1, row.top5) == (None, None)
            if row.digest:
                assert row.digest.partition(":")[2][:8] in row.address
    assert count > 280


def test_default_cfg_is_timms_wherever_timm_has_the_variant() -> None:
    fields = (
        "input_size",
        "test_input_size",
        "interpolation",
        "crop_pct",
        "test_crop_pct",
        "crop_mode",
        "mean",
        "std",
        "pool_size",
    )
    names = [
        (e.spec.name, r.name) for e in registry().models().values() if (r := e.spec.reference("timm")) and not r.options
    ]
    assert len(names) > 80
    for name, reference in names[::9]:
        cfg, expected = create_model(name, device="meta").default_cfg, timm.get_pretrained_cfg(reference)
        assert {field: cfg.get(field) for field in fields} == {field: getattr(expected, field) for field in fields}, (
            name
        )
    for name, reference in names:
        told = rows.input_of(name)
        assert told["input_size"] == (3, model_info(name).spec.input_size, model_info(name).spec.input_size)
        assert told["interpolation"] == timm.get_pretrained_cfg(reference).interpolation


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"pretrained": True}, WeightsError, "nobody is known to have published weights for resnet20"),
        ({"weights": "timm"}, WeightsError, "nobody is known"),
        ({"pretrained": 3}, OptionError, "pretrained must be True or False"),
        ({"pretrained": True, "weights": "timm"}, OptionError, "two ways to say one thing"),
    ],
)
def test_weights_that_nobody_has_are_refused_with_what_there_is(
    options: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        create_model("resnet20", **options)


def test_a_tag_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(
        WeightsError, match=r"no weights 'timm:a1_in1' are known.*Did you mean 'timm:a1_in1k'.*torchvision:"
    ):
        create_model("resnet50", weights="timm:a1_in1")


def test_list_and_show_tell_what_is_published(capsys: Capture) -> None:
    listed = run(capsys, "list", "--pretrained", "resnet20*", "resnet18_cifar")
    assert "resnet20_b" in listed
    assert "resnet20 " not in listed
    assert "pytorch-cifar-models:cifar100" in listed
    assert [row["name"] for row in run_json(capsys, "list", "--pretrained", "resnet20*")] == [
        "resnet20_b",
        "resnet200d",
    ]
    shown = run(capsys, "show", "resnet50")
    assert "timm:a1_in1k" in shown
    assert "76.13" in shown  # torchvision's first
    assert "Published" not in run(capsys, "show", "resnet20")
    assert "leave --pretrained out" in refused(capsys, "list", "--parts", "--pretrained")
