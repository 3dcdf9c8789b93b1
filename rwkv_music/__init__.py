"""The instrument: RWKV models, the engine, composing, rendering and the command line."""

__version__ = "0.1.0"
