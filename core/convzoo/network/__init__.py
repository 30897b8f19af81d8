"""The network that was built: the model class, its life in training, its weights and its costs."""
