"""Channel and spatial attention, and the networks known by it."""
