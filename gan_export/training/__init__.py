"""Training: recipes, data, the two networks, the step, a loop that can be killed and resumed, and its events."""
