"""The studio for programs: HTTP with JSON, files, and events that arrive while music is made."""
