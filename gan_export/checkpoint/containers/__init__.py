"""Containers: zip, pickle, safetensors, folders."""
