"""ResNeSt: bottlenecks with split attention."""
