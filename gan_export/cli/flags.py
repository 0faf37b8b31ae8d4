"""Write the parameters that a message of the library names as flags: `image_size=64` as `--image-size 64`.

The library names a parameter as Python does, with `=` and with or without a value; these are the messages of `export`,
`open` and the other functions.  A command shows the same messages with its flags.
"""

from __future__ import annotations

import re
from dataclasses import fields

from gan_export.recognize.options import ReadOptions

# Parameters besides those of ReadOptions, all of which are flags of a command under the same name.
NAMES = frozenset({
    *(field.name for field in fields(ReadOptions)),
    "arithmetic", "batch", "bits", "channels", "classifier", "data_root", "device", "devices", "direction",
    "external_data", "filter", "force", "format", "fp16_io", "keypoints", "kwargs", "latent_scale", "latents", "level",
    "max_error", "max_memory", "mix", "module", "nodes", "onnxruntime_web", "opset", "outscale", "part", "per_layer",
    "precision", "processes", "pythonpath", "ray", "recalibrate", "recipe", "resize", "resume", "rng", "rounds",
    "runtime", "sampler", "save_dir", "seed", "seeds", "shard_size", "side", "signature", "split", "start", "static",
    "strict", "tensorboard", "threads", "tile", "tile_overlap", "weights", "without", "workers", "write_reference",
})  # fmt: skip
# Parameters and values that a command spells in another way.
OTHER = {
    "count=": "-n ",
    "target=": "-o ",
    "labels=": "--label ",
    "settings=": "--set ",
    "output='bytes'": "--uint8",
    "pad=False": "--no-pad",
}
_ASSIGNED = re.compile(r"(?<![\w.'\"/-])(?:output='bytes'|pad=False|([a-z][a-z0-9_]*)=(?:True\b)?)")
_SETTING = re.compile(r"(?<![\w-])set (?=[a-z]+\.[a-z_.]+=)")


def as_flags(message: str) -> str:
    """Return a message of the library with its parameters as flags."""

    def flag(found: re.Match[str]) -> str:
        name, text = found[1], found[0]
        if text in OTHER:
            written = OTHER[text]
        elif name in NAMES:
            written = f"--{name.replace('_', '-')} "
        else:
            return text
        valued = text.endswith("=") and re.match(r"[^\s:;,.)]", message[found.end() : found.end() + 1])
        return written if valued else written.rstrip()

    return _SETTING.sub("--set ", _ASSIGNED.sub(flag, message))
