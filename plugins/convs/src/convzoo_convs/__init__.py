"""Spatial convolutions that stand in for the plain one in any block."""
