"""What an author proves a plugin with: a conformance kit, and equality with another implementation."""

from convzoo.testing.kit.conformance import Check, checks, conformance
from convzoo.testing.kit.promises import CheckFailed, NotApplicable
from convzoo.testing.parity import Comparison, compare
from convzoo.testing.transplant import Divergence, TrainingStep, Transplant, TransplantError, transplant

__all__ = [
    "Check",
    "CheckFailed",
    "Comparison",
    "Divergence",
    "NotApplicable",
    "TrainingStep",
    "Transplant",
    "TransplantError",
    "checks",
    "compare",
    "conformance",
    "transplant",
]
