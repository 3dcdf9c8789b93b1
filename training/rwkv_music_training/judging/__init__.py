"""What a model is worth: what music costs it, and what its own music is like."""
