"""Training: procedural scenes, the three papers' recipes, completion fine-tuning, and the mini weights."""
