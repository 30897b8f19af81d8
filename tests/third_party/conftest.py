"""Packages with suites of their own, which test_third_party.py installs and runs elsewhere."""

collect_ignore_glob = ["*"]
