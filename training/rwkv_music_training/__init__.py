"""From music files to a trained model."""
