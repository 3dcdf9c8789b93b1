"""Fine-tuning: a folder of somebody's own music, and a model or a style that writes in its manner."""
