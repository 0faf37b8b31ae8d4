"""Small modules that several packages share and that don't depend on generators."""
