"""Whether all that this plugin contributes keeps the promises that convzoo's builder and users rely on."""

from convzoo.testing import conformance

test_conformance = conformance("res2net")
