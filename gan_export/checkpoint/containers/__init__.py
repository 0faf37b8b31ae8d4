"""Read the containers of checkpoints: zip, pickle, safetensors, folders."""
