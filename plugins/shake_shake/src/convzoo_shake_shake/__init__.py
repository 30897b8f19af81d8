"""Shake-Shake: two branches, mixed at random in training."""
