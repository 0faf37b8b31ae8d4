"""Pictures in a browser: the engine as WebAssembly, a JavaScript module over it, and a page that uses both."""
