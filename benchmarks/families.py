"""One variant of each family that timm has too."""

from __future__ import annotations

FAMILIES = {
    "resnet": "resnet50",
    "resnet_rs": "resnetrs50",
    "resnext": "resnext50_32x4d",
    "wide_resnet": "wide_resnet50_2",
    "seresnet": "seresnet50",
    "seresnext": "seresnext50_32x4d",
    "senet": "senet154",
    "ecaresnet": "ecaresnet50d",
    "ecaresnext": "ecaresnext50t_32x4d",
    "cbam": "cbam_resnet50",
    "resnest": "resnest50",
    "sknet": "skresnext50_32x4d",
    "densenet": "densenet121",
}
