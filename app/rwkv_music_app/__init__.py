"""The studio: a web app for making music."""
