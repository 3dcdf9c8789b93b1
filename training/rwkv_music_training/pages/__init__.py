"""The pages of finished models, and the models as they lie in the package."""
