"""What people see of a run while it goes on, and the page that remains of it."""
