"""The conformance kit: what every kind of part promises, and what examines it."""
