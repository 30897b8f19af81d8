"""DenseNet: layers that append to what all earlier ones have made."""
