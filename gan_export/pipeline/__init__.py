"""Export, verify and publish; evaluate."""
