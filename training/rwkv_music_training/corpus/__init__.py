"""From folders of music to documents of ids that a model learns from."""
