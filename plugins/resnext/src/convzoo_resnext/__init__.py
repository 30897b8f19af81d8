"""ResNeXt: bottlenecks with grouped convolutions."""
