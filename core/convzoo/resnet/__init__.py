"""Plain residual networks, whose parts every other family builds on. They enter through the same hook as any plugin."""
