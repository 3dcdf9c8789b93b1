"""The page: Gradio lives here and in the components, and nowhere else."""
