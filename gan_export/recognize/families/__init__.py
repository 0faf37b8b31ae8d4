"""One file per architecture; `recognize.registry` lists them."""
