"""The module that timm knows the zoo's models by; :mod:`convzoo.timm.registering` puts them in.

``timm.list_models(module="zoo")`` lists them.
"""

from __future__ import annotations

from typing import Any

default_cfgs: dict[str, Any] = {}
"""What is published for each of them, as timm's ``DefaultCfg``."""

__all__: list[str] = []
