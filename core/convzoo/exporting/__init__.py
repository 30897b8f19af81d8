"""Networks as files that run without this package: by format, each in a file of its own, which imports its library
when it is used."""

from __future__ import annotations

from convzoo.exporting.base import Format
from convzoo.exporting.onnx import Onnx
from convzoo.exporting.openvino import OpenVino
from convzoo.exporting.programs import Aoti, Pt2

FORMATS: dict[str, Format] = {each.name: each for each in (Onnx(), Pt2(), OpenVino(), Aoti())}
"""All that there are."""
