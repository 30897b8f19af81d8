"""From a spec to a network: the parts, the composition of options, the builder, and the start of every tensor."""
