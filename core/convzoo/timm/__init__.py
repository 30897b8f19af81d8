"""The zoo within timm: ``import convzoo.timm``, and ``timm.create_model("zoo_resnet50")`` makes a variant.

Every model of the zoo is registered in timm as ``zoo_`` and its name, with ``_`` for a dot; with a tag,
``"zoo_resnet50.tv_in1k"``, it is the one that these weights are for. Those that are registered in the zoo later are
added as they come. ``timm.list_models``, ``list_pretrained``, ``list_modules`` (the module is ``zoo``), ``is_model``
and ``create_model`` know them.

What ``timm.create_model`` is given means what it means there: ``pretrained``, ``pretrained_cfg`` (a tag, a dict or a
``PretrainedCfg``), ``pretrained_cfg_overlay``, ``cache_dir``, ``checkpoint_path``, ``features_only``, ``out_indices``,
``feature_cls``, ``output_stride``, ``in_chans``, ``num_classes``, ``global_pool``, ``drop_rate``, ``drop_path_rate``;
all else is an option of :func:`convzoo.create_model`. Weights are loaded as that function does, so that
``pretrained_cfg_overlay={"file": path}`` takes checkpoints in others' names too; ``checkpoint_path`` is timm's own, and
takes what was saved of such a model.

``python -m convzoo.timm train.py ...`` runs a script of timm's with them, see :mod:`convzoo.timm.following`.
"""

from __future__ import annotations

try:
    import timm  # noqa: F401
except ModuleNotFoundError as missing:
    if missing.name != "timm":
        raise
    raise ImportError("convzoo.timm needs timm: pip install 'convzoo[timm]'") from missing

from convzoo.packages import timm_name
from convzoo.plugins.host import plugins
from convzoo.timm.registering import register

__all__ = ["register", "timm_name"]

register()
plugins().watchers.append(register)
