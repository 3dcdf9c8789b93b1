"""Small things that learn beside a model which stays as it is: low-rank additions, and the state before the first token."""
