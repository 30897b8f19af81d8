"""Writing down what timm, torchvision and pytorchcv have published: ``python -m convzoo.cli.published``.

It reads the packages that are installed, and leaves the file of one that is not as it is. Of accuracies, torchvision
gives its own, pytorchcv writes the error into the names of its files, and those of timm's default weights are in the
zoo's table of variants.
"""

from __future__ import annotations

import csv
import importlib.metadata
import importlib.resources
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from convzoo.plugins.host import registry
from convzoo.published import rows as reader
from convzoo.spec.model import Model

FOLDER = Path(reader.__file__).parent
FACTS = Path(__file__).resolve().parents[3] / "tests" / "data" / "variants.json"
INPUT = ("input_size", "test_input_size", "interpolation", "crop_pct", "test_crop_pct", "crop_mode", "mean", "std")
"""What timm's configurations say of the input."""
RELEASES = "https://github.com/osmr/imgclsmob/releases/download"
IMAGENET = {"interpolation": "bilinear", "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
CIFAR = {"interpolation": "bilinear", "mean": (0.4914, 0.4822, 0.4465), "std": (0.2023, 0.1994, 0.2010)}
"""The inputs of pytorchcv's weights, by its project's ``pytorch/datasets``, which has one for all sets of 32 px."""

Row = dict[str, Any]


def of_timm() -> tuple[dict[str, list[Row]], dict[str, Row]]:
    """Rows of each variant that timm has, its default first, and the input of each."""
    from timm.models import list_pretrained

    accuracies = {row.get("timm_name"): row for row in json.loads(FACTS.read_text(encoding="utf-8"))}
    found: dict[str, list[Row]] = {}
    inputs: dict[str, Row] = {}
    for spec, name in _referred("timm"):
        default = _timms(name)
        inputs[spec.name] = _input(default)
        tags = [each.partition(".")[2] for each in list_pretrained(f"{name}.*")]
        for tag in sorted(tags, key=lambda tag: tag != default.tag):
            cfg = _timms(f"{name}.{tag}")
            if cfg.hf_hub_filename or cfg.custom_load:
                continue
            row = {
                "source": "timm",
                "tag": tag,
                "address": f"hf-hub:{cfg.hf_hub_id}" if cfg.hf_hub_id else cfg.url,
                "licence": cfg.license or "",
                "num_classes": cfg.num_classes,
                "input": _input(cfg),
            }
            fact = accuracies.get(name, {})
            if tag == fact.get("timm_tag") and fact.get("timm_top1_err"):
                row["top1"] = round(100 - fact["timm_top1_err"], 3)
                row["said"] = f"timm's results-imagenet.csv, at {fact['timm_top1_img_size']} px"
            found.setdefault(spec.name, []).append(row)
    return found, inputs


def _timms(name: str) -> Any:
    from timm.models import get_pretrained_cfg

    return get_pretrained_cfg(name)


def _input(cfg: Any) -> Row:
    return {key: value for key in INPUT if (value := getattr(cfg, key)) is not None}


def of_torchvision() -> dict[str, list[Row]]:
    """Rows of each variant that torchvision has, its default first."""
    from torchvision.models import get_model_weights

    found: dict[str, list[Row]] = {}
    for spec, name in _referred("torchvision"):
        weights = get_model_weights(name)
        for each in sorted(weights, key=lambda each: each is not weights.DEFAULT):
            images = each.transforms()
            (size,), (resized,) = images.crop_size, images.resize_size
            digest = re.search(r"-([0-9a-f]{8,})\.", each.url)
            metrics = each.meta["_metrics"]["ImageNet-1K"]
            found.setdefault(spec.name, []).append(
                {
                    "source": "torchvision",
                    "tag": each.name,
                    "address": each.url,
                    "licence": "bsd-3-clause",
                    "num_classes": len(each.meta["categories"]),
                    "digest": f"sha256:{digest[1]}" if digest else "",
                    "top1": metrics["acc@1"],
                    "top5": metrics["acc@5"],
                    "said": f"torchvision, {type(each).__name__}, at {size} px",
                    "input": {
                        "input_size": (3, size, size),
                        "interpolation": images.interpolation.value,
                        "crop_pct": size / resized,
                        "mean": images.mean,
                        "std": images.std,
                    },
                }
            )
    return found


def of_pytorchcv() -> dict[str, list[Row]]:
    """Rows of each variant that pytorchcv has weights for."""
    table = importlib.resources.files("pytorchcv").joinpath("models/common/model_metainfos.csv")
    names = [(re.compile(pattern), name) for pattern, name in json.loads((FOLDER / "pytorchcv_names.json").read_text())]
    found: dict[str, list[Row]] = {}
    for line in csv.DictReader(table.read_text(encoding="utf-8").splitlines()):
        theirs = line["model_name"]
        ours = next((match.expand(name) for pattern, name in names if (match := pattern.match(theirs))), "")
        if not ours or line["error_value"] == "NA":
            continue
        data = theirs.rpartition("_")[2] if line["test_dataset"] == "cf" else "imagenet"
        classes = {"imagenet": 1000, "cifar100": 100}.get(data, 10)
        size = 32 if data != "imagenet" else 224 if line["img_size"] == "NA" else int(line["img_size"])
        crop = 1.0 if data != "imagenet" else 0.875 if line["img_scale"] == "NA" else float(line["img_scale"])
        file = f"{theirs}-{line['error_value']}-{line['checksum'][:8]}.pth.zip"
        right = round(100 - int(line["error_value"]) / 100, 2)
        _same_size(ours, classes, int(line["net_weights"]))
        found.setdefault(ours, []).append(
            {
                "source": "pytorchcv",
                "tag": data,
                "address": f"{RELEASES}/{line['repo_release_tag']}/{file}",
                "licence": "mit",
                "num_classes": classes,
                "digest": f"sha1:{line['checksum']}",
                ("top5" if data == "imagenet" else "top1"): right,
                "said": f"pytorchcv's model_metainfos.csv, at {size} px",
                "input": {
                    "input_size": (3, size, size),
                    "crop_pct": crop,
                    **(IMAGENET if data == "imagenet" else CIFAR),
                },
            }
        )
    return found


def _same_size(name: str, classes: int, params: int) -> None:
    """ValueError unless the variant has so many parameters, or loses some when it is converted."""
    from convzoo.api import create_model

    model = create_model(name, num_classes=classes, device="meta")
    own = sum(parameter.numel() for parameter in model.parameters())
    if own != params and not any(dialect.name == "pytorchcv" and dialect.convert for dialect in model.spec.dialects):
        raise ValueError(f"{name} has {own} parameters, and the one of pytorchcv {params}")


def _referred(library: str) -> Iterator[tuple[Model, str]]:
    """Each variant whose weights are those of a model of ``library``, and that model's name."""
    for entry in registry().models().values():
        reference = entry.spec.reference(library)
        if reference and reference.options == reference.overrides:
            yield entry.spec, reference.name


def write(name: str, data: dict[str, Any]) -> None:
    """Write a file of rows, one a line, so that a change of one is a change of a line."""
    parts = []
    for key, value in data.items():
        text = json.dumps(value)
        if key == "rows":
            each = [f"{json.dumps(k)}: [\n  {_lines(map(json.dumps, rows), 2)}\n ]" for k, rows in value.items()]
            text = "{\n " + _lines(each, 1) + "\n}"
        elif isinstance(value, dict):
            text = "{\n " + _lines((f"{json.dumps(k)}: {json.dumps(v)}" for k, v in value.items()), 1) + "\n}"
        parts.append(f"{json.dumps(key)}: {text}")
    (FOLDER / f"{name}.json").write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def _lines(texts: Iterable[str], indent: int) -> str:
    return (",\n" + " " * indent).join(texts)


if __name__ == "__main__":
    for name, read in (("timm", of_timm), ("torchvision", of_torchvision), ("pytorchcv", of_pytorchcv)):
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            print(f"{name} is not installed, and {name}.json stays as it is")
            continue
        made = read()
        rows, more = (made[0], {"inputs": made[1]}) if isinstance(made, tuple) else (made, {})
        write(name, {"about": f"written by convzoo.cli.published from {name} {version}", **more, "rows": rows})
        print(f"{name} {version}: {sum(map(len, rows.values()))} of {len(rows)} variants")
