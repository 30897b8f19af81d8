"""What others have published for the variants: weights, and the images that these are for. All of it is data."""
