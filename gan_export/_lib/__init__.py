"""What is small, shared by several rooms and knows nothing of generators."""
