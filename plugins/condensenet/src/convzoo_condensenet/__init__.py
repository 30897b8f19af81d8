"""CondenseNet: dense networks that learn which features each group of a convolution reads."""

__all__ = ["halve_classifier"]


def __getattr__(name: str) -> object:
    # Looked up when asked for, so that listing the zoo imports no torch.
    if name == "halve_classifier":
        from convzoo_condensenet.classifier import halve_classifier

        return halve_classifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
