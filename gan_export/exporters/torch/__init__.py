"""The formats that torch itself writes."""
