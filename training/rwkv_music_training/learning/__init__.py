"""Learning: one loop for every version, method and machine."""
