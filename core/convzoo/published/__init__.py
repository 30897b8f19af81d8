"""What others have published for the zoo's variants: weights, and the images that these were trained for. All of it is data."""
