"""Training: recipes, data, the two nets, the step, the loop that survives being killed, and what it tells."""
