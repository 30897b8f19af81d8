"""What a network is made of, as frozen, plain data. Nothing here imports torch."""
