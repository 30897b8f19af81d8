"""Loading weights: one loader, which decides everything first, and then writes all of it or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convzoo.network.backbone import FeatureNet
from convzoo.network.checkpoints import Checkpoint
from convzoo.network.keys import COUNTER as COUNTER
from convzoo.network.model import ConvNet
from convzoo.network.putting import put
from convzoo.network.report import LoadReport as LoadReport
from convzoo.network.worlds import Keys


def load_weights(
    model: ConvNet | FeatureNet,
    source: str | Path | Mapping[str, Any] | Checkpoint,
    *,
    strict: bool = True,
    classifier: bool | None = None,
    use_ema: bool = True,
    keys: Keys | None = None,
) -> LoadReport:
    """Put weights into ``model``, under its own keys, those of timm and torchvision, or those of another library.

    The report says whose they are. A variant knows the names that others have for its network (its ``dialects``), such
    as pytorchcv's, mmpretrain's or its authors'; ``keys`` gives the names that it does not know.

    A checkpoint may have the state dict in an entry: ``state_dict``, ``model``, ``model_state_dict``, ``net`` or
    ``module``, or, for the moving average of the weights (EMA), ``state_dict_ema``, ``model_ema`` or ``ema``. What
    wrappers put into keys does not matter: ``module.``, ``_orig_mod.``, ``model.``, ``net.``, a FeatureNet's ``body.``.

    Weights for RGB images are adapted to another ``in_chans`` as timm does it: summed for one channel, repeated and
    scaled for others. A model on the meta device takes the tensors themselves, instead of copies, and what they do not
    fill stays there. Batch norm's counters may be missing. A :class:`FeatureNet` does not mind weights of the head and
    of the stages that it leaves out, nor a model without classes those of a classifier.

    Args:
        model: what to load into; compiled, or in a wrapper, as it may be.
        source: a state dict or checkpoint; a ``.safetensors`` file (needs safetensors), one that ``torch.load`` reads
            without running code, or a zip archive of one such; or a URL of either. What ``http`` and ``https`` give is
            kept in torch.hub's folder, and checked if the file's name ends in ``-<sha256 prefix>``. Or published
            weights: ``"timm"``, ``"torchvision"``, ``"pytorchcv"`` and so on, ``"timm:a1_in1k"`` for those of a tag
            (``convzoo show NAME`` lists them); or a folder ``"local-dir:path"`` or a repository of the Hugging Face hub
            ``"hf-hub:owner/name[@revision]"`` (needs huggingface_hub, and is kept in its cache).
        strict: raise unless everything fits; else load what fits, if anything does.
        classifier: None leaves the classifier as it is where the shape of the weights' is another, and warns; True
            wants it to fit as everything else; False leaves it as it is.
        use_ema: take the moving average where a checkpoint has it; False takes the weights themselves.
        keys: under whose names they are, where that is not to be found out: ``"its own"``, ``"reference"`` or the name
            of a dialect; ``(pattern, replacement)`` pairs for ``re.sub``, from the model's keys to theirs, as a model
            has them in its ``keys``; or a mapping from the model's keys to theirs.

    Raises:
        WeightsError: there is no such file, it holds no state dict, or it does not fit; the model is unchanged then.

    A :class:`~convzoo.WeightsWarning` says that the classifier is left out, or that weights are adapted.
    """
    return put(model, source, strict=strict, classifier=classifier, use_ema=use_ema, keys=keys)
