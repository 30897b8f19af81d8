"""What an author proves a plugin with: a conformance kit, and equality with another implementation."""

from convzoo.testing.conformance import Check, checks, conformance
from convzoo.testing.promises import CheckFailed, NotApplicable
from convzoo.testing.transplant import Divergence, Transplant, TransplantError, transplant

__all__ = [
    "Check",
    "CheckFailed",
    "Divergence",
    "NotApplicable",
    "Transplant",
    "TransplantError",
    "checks",
    "conformance",
    "transplant",
]
