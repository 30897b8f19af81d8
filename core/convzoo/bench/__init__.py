"""Which variant, on this hardware, at this batch size and precision: speed, memory and start, with their uncertainty."""
