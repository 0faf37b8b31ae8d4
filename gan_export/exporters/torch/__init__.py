"""The exporters of torch's own formats."""
