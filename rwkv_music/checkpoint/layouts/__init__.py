"""The layouts that RWKV weights are published in: how each is recognised, and how its tensors become official ones."""
