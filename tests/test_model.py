"""The model speaks timm's dialect: what its users' code calls does what it does there."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import timm.data
import torch
from torch import nn

import convzoo
from convzoo import OptionError
from convzoo.testing.numerics import load_images

from .pairs import pair

IMAGES = load_images("random", 64)


@pytest.fixture
def resnet() -> Any:
    torch.manual_seed(0)
    return convzoo.create_model("resnet18").eval()


@pytest.mark.parametrize("global_pool", ["avg", "max", "avgmax", "catavgmax"])
def test_global_pools_equal_timms(global_pool: str) -> None:
    ours, theirs = pair("resnet10t", global_pool=global_pool, num_classes=7)
    assert torch.equal(ours(IMAGES), theirs(IMAGES))
    assert ours.head_hidden_size == theirs.head_hidden_size
    assert ours.num_features == theirs.num_features


def test_no_classes_give_pooled_features_and_no_pool_gives_the_map() -> None:
    ours, theirs = pair("resnet10t", num_classes=0)
    assert torch.equal(ours(IMAGES), theirs(IMAGES))
    ours, theirs = pair("resnet10t", num_classes=0, global_pool="")
    assert ours(IMAGES).shape == (2, 512, 2, 2)
    assert torch.equal(ours(IMAGES), theirs(IMAGES))


@pytest.mark.parametrize("in_chans", [1, 4])
def test_other_input_channels_equal_timms(in_chans: int) -> None:
    ours, theirs = pair("resnet10t", in_chans=in_chans)
    images = torch.randn(2, in_chans, 64, 64)
    assert torch.equal(ours(images), theirs(images))
    assert ours.default_cfg["input_size"][0] == in_chans


def test_dropout_stands_before_the_classifier() -> None:
    model = convzoo.create_model("resnet10t", drop_rate=0.5).train()
    maps = torch.ones(2, 512, 2, 2)
    assert set(model.forward_head(maps, pre_logits=True).unique().tolist()) == {0.0, 2.0}
    assert set(model.eval().forward_head(maps, pre_logits=True).unique().tolist()) == {1.0}


@pytest.mark.parametrize(
    ("name", "output_stride"),
    [
        ("resnet18", 8),
        ("resnet26d", 8),
        ("resnet26d", 16),
        ("skresnet18", 8),
        pytest.param("resnet18", 16, marks=pytest.mark.large),
        pytest.param("skresnet18", 16, marks=pytest.mark.large),
        *(
            pytest.param(name, stride, marks=pytest.mark.large)
            for name in ("resnext50_32x4d", "seresnet18", "resnest50d", "resnest50d_4s2x40d")
            for stride in (8, 16)
        ),
    ],
)
def test_dilated_networks_equal_timms(name: str, output_stride: int) -> None:
    ours, theirs = pair(name, output_stride=output_stride)
    with torch.no_grad():
        assert torch.equal(ours.forward_features(IMAGES), theirs.forward_features(IMAGES))
    assert [f["reduction"] for f in ours.feature_info] == [f["reduction"] for f in theirs.feature_info]


def test_dilation_keeps_weights_and_receptive_fields_of_projections_with_3x3_kernels() -> None:
    spec = convzoo.model_info("senet154").spec
    assert spec.stages[1].layers[0].options["shortcut"].options["kernel_size"] == 3
    model = convzoo.create_model("senet154", output_stride=8, device="meta")
    convs = [m for m in model.stages[3][0].shortcut if isinstance(m, nn.Conv2d)]
    assert [(c.kernel_size, c.stride, c.dilation, c.padding) for c in convs] == [((3, 3), (1, 1), (2, 2), (2, 2))]


def test_feature_levels_equal_timms_at_sizes_that_no_stride_divides() -> None:
    ours, theirs = pair("resnet26d")
    for size in [(65, 95), (33, 47)]:
        images = torch.randn(2, 3, *size)
        mine, levels = ours.forward_intermediates(images)
        yours, expected = theirs.forward_intermediates(images)
        assert torch.equal(mine, yours)
        assert all(torch.equal(a, b) for a, b in zip(levels, expected, strict=True))


@pytest.mark.parametrize("indices", [None, 2, [0, 3], [-1], (1, 4)])
def test_intermediates_are_chosen_as_in_timm(indices: Any) -> None:
    ours, theirs = pair("resnet10t")
    for extra in ({}, {"stop_early": True}, {"intermediates_only": True}):
        mine = ours.forward_intermediates(IMAGES, indices, **extra)
        yours = theirs.forward_intermediates(IMAGES, indices, **extra)
        if "intermediates_only" not in extra:
            assert torch.equal(mine[0], yours[0])
            mine, yours = mine[1], yours[1]
        assert [m.shape for m in mine] == [y.shape for y in yours]
        assert all(torch.equal(m, y) for m, y in zip(mine, yours, strict=True))


def test_intermediates_of_no_level_or_another_format_are_refused(resnet: Any) -> None:
    with pytest.raises(OptionError, match="levels"):
        resnet.forward_intermediates(IMAGES, [5])
    with pytest.raises(OptionError, match="NHWC"):
        resnet.forward_intermediates(IMAGES, output_fmt="NHWC")


def test_features_only_holds_no_more_than_its_levels_need() -> None:
    whole = convzoo.create_model("resnet26d", features_only=True)
    part = convzoo.create_model("resnet26d", features_only=True, out_indices=(1, 2))
    assert part.feature_info.channels() == [256, 512]
    assert part.feature_info.reduction() == [4, 8]
    assert part.feature_info.module_name() == ["stages.0", "stages.1"]
    assert [f.shape[1] for f in part(IMAGES)] == [256, 512]
    assert len(part.body.stages) == 2
    assert sum(p.numel() for p in part.parameters()) < sum(p.numel() for p in whole.parameters()) / 4


@pytest.mark.parametrize("out_indices", [2, (1, 3), (-2, -1), (3, 1)])
def test_out_indices_mean_what_they_mean_in_timm(out_indices: Any) -> None:
    ours = convzoo.create_model("resnet10t", features_only=True, out_indices=out_indices).eval()
    indices = tuple(range(-out_indices, 0)) if isinstance(out_indices, int) else out_indices
    channels = [[64, 64, 128, 256, 512][i] for i in indices]
    assert ours.feature_info.channels() == channels
    assert [f.shape[1] for f in ours(IMAGES)] == channels


def test_classifier_can_be_read_and_reset(resnet: Any) -> None:
    assert resnet.get_classifier(name_only=True) == resnet.default_cfg["classifier"] == "head.fc"
    assert resnet.get_classifier() is resnet.head.fc
    resnet.double().reset_classifier(10, "catavgmax")
    assert resnet(IMAGES.double()).shape == (2, 10)
    assert (resnet.num_classes, resnet.head_hidden_size) == (10, 1024)
    assert convzoo.build(resnet.spec).state_dict().keys() == resnet.state_dict().keys()
    assert resnet.spec.params is None
    resnet.reset_classifier(0)
    assert resnet(IMAGES.double()).shape == (2, 1024)


def test_default_cfg_is_one_that_timm_resolves(resnet: Any) -> None:
    config = timm.data.resolve_model_data_config(resnet)
    assert config["input_size"] == (3, 224, 224)
    assert config["mean"] == (0.485, 0.456, 0.406)
    assert resnet.get_parameter(resnet.default_cfg["first_conv"] + ".weight").shape == (64, 3, 7, 7)


@pytest.mark.parametrize(
    "name",
    [
        "resnet10t",
        "skresnet18",
        *(pytest.param(name, marks=pytest.mark.large) for name in ("seresnet18", "cbam_resnet18", "resnest14d")),
    ],
)
def test_checkpointing_changes_neither_gradients_nor_statistics(name: str) -> None:
    torch.manual_seed(0)
    plain = convzoo.create_model(name, num_classes=5, drop_path_rate=0.3, zero_init_last=False).double().train()
    saving = copy.deepcopy(plain)
    saving.set_grad_checkpointing()
    images = IMAGES.double()
    for model in (plain, saving):
        torch.manual_seed(1)
        model(images).square().sum().backward()
    for (key, mine), theirs in zip(plain.named_parameters(), saving.parameters(), strict=True):
        assert torch.equal(mine.grad, theirs.grad), key
    for (key, mine), theirs in zip(plain.named_buffers(), saving.buffers(), strict=True):
        assert torch.equal(mine, theirs), key
    assert all(m.track_running_stats for m in saving.modules() if isinstance(m, nn.BatchNorm2d))


def test_checkpointing_holds_fewer_tensors_for_the_backward_pass() -> None:
    def saved(checkpointing: bool) -> int:
        model = convzoo.create_model("resnet26").train()
        model.set_grad_checkpointing(checkpointing)
        elements = 0

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal elements
            elements += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model(IMAGES)
        return elements

    assert saved(True) < saved(False) / 2


@pytest.mark.parametrize(
    "name",
    [
        "resnet20",
        *(pytest.param(name, marks=pytest.mark.large) for name in ("resnet18", "cbam_resnet18", "ecaresnet26t")),
        *(pytest.param(name, marks=pytest.mark.large) for name in ("resnest14d", "skresnet18")),
    ],
)
def test_compiles_without_a_graph_break_and_exports_for_any_batch(name: str) -> None:
    model = convzoo.create_model(name).eval()
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    batch = {0: torch.export.Dim("batch")}
    exported = torch.export.export(model, (IMAGES,), dynamic_shapes=(batch,)).module()
    more = torch.cat([IMAGES, IMAGES.flip(0), IMAGES])
    with torch.no_grad():
        assert torch.equal(compiled(IMAGES), model(IMAGES))
        torch.testing.assert_close(exported(more), model(more))


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(
    "name", ["resnet18d", "resnet20", "seresnet18", "cbam_resnet18", "ecaresnet26t", "resnest14d", "skresnet18"]
)
def test_every_block_keeps_channels_last(name: str, train: bool) -> None:
    model = convzoo.create_model(name).to(memory_format=torch.channels_last).train(train)
    lost = []

    def check(module: nn.Module, _: Any, output: torch.Tensor) -> None:
        if not output.is_contiguous(memory_format=torch.channels_last):
            lost.append(type(module).__name__)

    for layer in (model.stem, *(layer for stage in model.stages for layer in stage)):
        layer.register_forward_hook(check)
    model(IMAGES.to(memory_format=torch.channels_last))
    assert lost == []


def test_models_pickle_and_copy(resnet: Any) -> None:
    with torch.no_grad():
        expected = resnet(IMAGES)
        for twin in (pickle.loads(pickle.dumps(resnet)), copy.deepcopy(resnet)):
            assert twin.spec == resnet.spec
            assert torch.equal(twin(IMAGES), expected)


def test_meta_models_have_no_storage_and_the_same_shapes(resnet: Any) -> None:
    empty = convzoo.create_model("resnet18", device="meta")
    assert all(p.is_meta for p in empty.parameters())
    assert {k: v.shape for k, v in empty.state_dict().items()} == {k: v.shape for k, v in resnet.state_dict().items()}


def test_dtype_is_that_of_every_parameter() -> None:
    model = convzoo.create_model("seresnet18", dtype=torch.bfloat16)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert model.eval()(IMAGES.bfloat16()).dtype == torch.bfloat16


def test_two_models_share_no_tensor() -> None:
    first, second = convzoo.create_model("resnet20"), convzoo.create_model("resnet20")
    shared = {p.data_ptr() for p in first.parameters()} & {p.data_ptr() for p in second.parameters()}
    assert not shared


@pytest.mark.gpu
def test_models_are_built_on_the_device_asked_for() -> None:
    model = convzoo.create_model("seresnet18", device="cuda")
    assert {p.device.type for p in (*model.parameters(), *model.buffers())} == {"cuda"}
    assert model(IMAGES.cuda()).isfinite().all()


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_reset_classifier_stands_where_the_model_is_and_is_in_its_cfg(device: str) -> None:
    model = convzoo.create_model("resnet10t", device=device, dtype=torch.bfloat16)
    model.reset_classifier(0)
    model.reset_classifier(5)
    assert {(p.device.type, p.dtype) for p in model.parameters()} == {(device, torch.bfloat16)}
    assert model.default_cfg["num_classes"] == model.num_classes == 5


@pytest.mark.parametrize(
    "options", [{"global_pool": "avg"}, {"drop_rate": 0.0}, {"attention": None}, {"num_classes": 1000}, {"act": "relu"}]
)
def test_what_a_model_has_already_changes_nothing(options: dict[str, Any]) -> None:
    spec, info = convzoo.create_model("resnet18", device="meta", **options).spec, convzoo.model_info("resnet18").spec
    assert spec == convzoo.create_model("resnet18", device="meta").spec
    assert (spec.params, spec.macs, spec.references) == (info.params, info.macs, info.references)


def test_weights_of_another_dtype_are_cast_to_the_one_asked_for() -> None:
    state = convzoo.create_model("resnet20").state_dict()
    model = convzoo.create_model("resnet20", device="meta", dtype=torch.bfloat16, weights=state)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
