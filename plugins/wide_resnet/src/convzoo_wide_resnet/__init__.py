"""Wide ResNet: fewer, wider layers."""
