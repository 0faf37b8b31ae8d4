"""The engine's tests.  GAN_TEST_LIBRARY names another build of it than the package's own (engine/tools/sanitize.sh)."""

import os
from pathlib import Path

from gan_export.runtimes import native_library

if library := os.environ.get("GAN_TEST_LIBRARY"):
    native_library.library_path = lambda: Path(library)  # type: ignore[assignment]
