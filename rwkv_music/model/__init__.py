"""RWKV models: what they are made of and how they compute."""
