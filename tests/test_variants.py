"""Every variant of the table exists under its names, and costs what the table says, to the unit.

A variant need not stand in the table: it is one row of its plugin, whose pins the conformance kit measures. The table
has what was read elsewhere, with its sources.
"""

from __future__ import annotations

from typing import Any

import pytest

import convzoo
from convzoo.network.counting import count
from convzoo_condensenet import halve_classifier

from .facts import rows

ROWS = {row["zoo_name"]: row for row in rows() if not row.get("form", "").startswith("deployed")}
DEPLOYED = {row["zoo_name"]: row for row in rows() if row.get("form") == "deployed, classifier halved"}


def measured(rows: dict[str, dict[str, Any]], key: str, *, limit: int) -> list[Any]:
    """The rows that have ``key``; those of more than ``limit`` parameters are left to `make test-all`."""
    return [
        pytest.param(row, id=name, marks=pytest.mark.large if row["params"] > limit else ())
        for name, row in rows.items()
        if key in row
    ]


# That a variant costs what it pins is a check of the conformance kit.
@pytest.mark.parametrize("row", [pytest.param(r, id=name) for name, r in ROWS.items() if "params" in r])
def test_variant_pins_the_parameters_and_macs_of_the_table(row: dict[str, Any]) -> None:
    spec = convzoo.model_info(row["zoo_name"]).spec
    assert (spec.params, spec.macs) == (row["params"], row["macs"])


@pytest.mark.parametrize("row", measured(ROWS, "macs_224", limit=12_000_000))
def test_variant_has_the_macs_of_the_table_at_224_px(row: dict[str, Any]) -> None:
    model = convzoo.create_model(row["zoo_name"], device="meta")
    assert count(model, (3, 224, 224)) == (row["params"], row["macs_224"])


@pytest.mark.parametrize("row", measured(DEPLOYED, "params", limit=500_000))
def test_deployed_variant_has_the_parameters_and_macs_of_the_table(row: dict[str, Any]) -> None:
    model = convzoo.create_model(row["zoo_name"])
    convzoo.set_progress(model, 1)
    deployed = halve_classifier(convzoo.deploy(model, rewrite=False))
    size = row["input_size"]
    assert sum(b.numel() for name, b in deployed.named_buffers() if name.endswith("index")) == row["index_entries"]
    assert count(deployed.to("meta"), (3, size, size)) == (row["params"], row["macs"])


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_variant_exists_under_its_names_with_its_classes_and_size(row: dict[str, Any]) -> None:
    spec = convzoo.model_info(row["zoo_name"]).spec
    assert spec.name == row["zoo_name"]
    assert (spec.family, spec.num_classes, spec.input_size) == (row["family"], row["num_classes"], row["input_size"])
    assert spec.dataset == row["dataset"]
    if timm := row.get("timm_name"):
        assert convzoo.model_info(timm).spec is spec
        reference = spec.reference("timm")
        assert reference is not None
        assert reference.name == timm
    torchvision = spec.reference("torchvision")
    assert (torchvision.name if torchvision else None) == row.get("torchvision_name")


def test_a_form_of_a_variant_stands_in_the_table_once() -> None:
    assert set(ROWS) >= set(DEPLOYED)
    assert len(ROWS) + len(DEPLOYED) == len(rows())


def test_every_variant_says_where_it_comes_from() -> None:
    for name in convzoo.list_models():
        assert "arXiv" in convzoo.model_info(name).spec.paper, name


def test_cifar_variants_have_ten_classes_and_say_32_px() -> None:
    for name in convzoo.list_models():
        spec = convzoo.model_info(name).spec
        if spec.dataset == "cifar10":
            assert (spec.num_classes, spec.input_size) == (10, 32), name
    cfg = convzoo.create_model("resnet20", device="meta").default_cfg
    assert cfg["input_size"] == (3, 32, 32)
    assert cfg["num_classes"] == 10
    assert cfg["mean"] != convzoo.create_model("resnet18", device="meta").default_cfg["mean"]
