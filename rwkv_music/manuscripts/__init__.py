"""What a piece is written on: how a prompt opens it in the code that a model speaks, and what comes of its tokens."""
