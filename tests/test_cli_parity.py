"""`convzoo parity`: models compared with timm and torchvision, and what it says when they differ."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch

import convzoo
from convzoo import WeightsError
from convzoo.cli import main

from .commands import Capture, refused, run_json


def check_equal(record: Mapping[str, Any]) -> None:
    assert record["verdict"] in ("exact", "equal")
    assert {"state dict", "eval", "train", "gradients", "statistics"} <= set(record["checks"])
    assert all(check["relative"] <= check["tolerance"] <= 1e-4 for check in record["checks"].values())


def differing(record: Mapping[str, Any]) -> set[str]:
    """Checks beyond their tolerance, which are those that the verdict names."""
    wrong = [name for name, check in record["checks"].items() if check["relative"] > check["tolerance"]]
    assert record["verdict"] == f"DIFFERS in {', '.join(wrong)}"
    return set(wrong)


def test_parity_compares_a_model_with_timm(capsys: Capture) -> None:
    [record] = run_json(capsys, "parity", "resnet18", "--image-size", "64")
    check_equal(record)
    assert (record["name"], record["against"]) == ("resnet18", "timm/resnet18")
    assert (record["params"], record["macs"]) == (11_689_512, 148_557_824)  # at 64 px
    assert {"forward_features", "features"} <= set(record["checks"])


def test_parity_compares_a_model_with_torchvision(capsys: Capture) -> None:
    [record] = run_json(capsys, "parity", "resnet18", "--image-size", "32", "--against", "torchvision")
    check_equal(record)
    assert record["against"] == "torchvision/resnet18"


def test_parity_prints_a_table(capsys: Capture) -> None:
    assert main(["parity", "resnet18", "--image-size", "32"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^resnet18 +timm resnet18 +11,689,512 .* (exact|equal)$", out, re.MULTILINE)
    assert "1 of 1 equal; random images at 32 px, float32, cpu" in out


def test_parity_takes_from_a_glob_what_has_a_counterpart(capsys: Capture) -> None:
    assert "resnet18_cifar" in convzoo.list_models("resnet18*")
    assert main(["parity", "resnet18*", "--image-size", "32", "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert [record["name"] for record in records] == ["resnet18", "resnet18d"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnet18_cifar"], "resnet18_cifar has no counterpart in timm"),
        (["resnet18", "resnet18_cifar"], "resnet18_cifar has no counterpart in timm"),
        (["resnet*_cifar"], "has no counterpart in timm"),
        (["resnet18d", "--against", "torchvision"], "resnet18d has no counterpart in torchvision"),
        (["resnt18"], "There is no model 'resnt18'. Did you mean 'resnet18'"),
        (["resnet18", "--image-size", "0"], "--image-size must be at least 1"),
        (["resnet18", "--device", "abacus"], "abacus"),
    ],
)
def test_parity_refuses_what_it_cannot_compare(capsys: Capture, arguments: list[str], message: str) -> None:
    assert message in refused(capsys, "parity", *arguments)


def tampering(monkeypatch: pytest.MonkeyPatch, tamper: Callable[[Any], None]) -> None:
    """Let ``tamper`` have each network of a comparison once its weights are in."""
    import convzoo.testing.parity

    load_weights = convzoo.testing.parity.load_weights

    def load_and_tamper(network: Any, *arguments: Any, **options: Any) -> Any:
        report = load_weights(network, *arguments, **options)
        with torch.no_grad():
            tamper(getattr(network, "body", network))  # a FeatureNet has the network as its body
        return report

    monkeypatch.setattr(convzoo.testing.parity, "load_weights", load_and_tamper)


def test_parity_fails_when_one_weight_differs(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    tampering(monkeypatch, lambda network: network.get_parameter("stages.0.0.branch.conv2.weight")[0, 0, 1, 1].add_(1))
    assert main(["parity", "resnet18", "--image-size", "32", "--json"]) == 1
    [record] = json.loads(capsys.readouterr().out)
    assert {"state dict", "eval", "forward_features", "features", "train"} <= differing(record)


def test_parity_fails_when_the_network_computes_something_else(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tampering(monkeypatch, lambda network: setattr(network.stages[0][0], "act", torch.nn.Identity()))
    assert main(["parity", "resnet18", "--image-size", "32", "--json"]) == 1
    [record] = json.loads(capsys.readouterr().out)
    assert {"eval", "forward_features", "features", "train"} <= differing(record)
    assert record["checks"]["state dict"]["absolute"] == 0


def test_parity_goes_on_after_a_model_that_fails(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(network: Any) -> None:
        if network.spec.name == "resnet18":
            raise WeightsError("these do not fit")

    tampering(monkeypatch, refuse)
    assert main(["parity", "resnet18", "resnet10t", "--image-size", "32", "--json"]) == 1
    records = {record["name"]: record for record in json.loads(capsys.readouterr().out)}
    assert records["resnet18"] == {"name": "resnet18", "verdict": "FAILED", "error": "these do not fit"}
    check_equal(records["resnet10t"])


def test_what_torch_says_of_a_comparison_that_cannot_be_run_is_one_line(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str, **options: Any) -> None:
        raise RuntimeError(f"the images are too small for {name}\nsecond line")

    monkeypatch.setattr("convzoo.testing.parity.compare", fail)
    error = refused(capsys, "parity", "resnet18")
    assert error == "convzoo parity: resnet18: RuntimeError: the images are too small for resnet18\n"
    assert main(["parity", "resnet18", "resnet34", "--json"]) == 1
    assert [record["verdict"] for record in json.loads(capsys.readouterr().out)] == ["FAILED", "FAILED"]
