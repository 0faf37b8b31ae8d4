"""Export, verify and publish; evaluate; what the steps share."""
