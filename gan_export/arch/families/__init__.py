"""One file per architecture; `arch.registry` lists them."""
