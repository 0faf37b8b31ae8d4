"""Generate images of a seed with any generator file, in batches, in constant memory, and write them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from gan_export import latents
from gan_export.errors import GanExportError
from gan_export.graph.port_values import image_indices
from gan_export.graph.ports import Normal, Port
from gan_export.graph.reach import Reach
from gan_export.graph.signature import Feeds, Signature
from gan_export.graph.views import classes_of, image_of, label_port, latent_port
from gan_export.recognize.options import Match, ReadOptions
from gan_export.runtimes.base import (
    Outputs,
    SamplesFromSeed,
    Session,
    SessionInfo,
    check_outputs,
    feeds_for,
)
from gan_export.sampling import styles
from gan_export.sampling.numpy_seeds import latents_of
from gan_export.sampling.styles import Rng, StyleParts, Styling
from gan_export.sampling.tiles import MAX_MEMORY, Pixels, Tiling

if TYPE_CHECKING:
    from gan_export.sampling.opening import Opening

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Label = int | Literal["all", "random"]
LabelsOrChoice = Label | npt.ArrayLike | None
Indices = npt.NDArray[np.uint64] | range
BATCH = 64


@dataclass(frozen=True, slots=True)
class Generator:
    """A generator that is loaded, from a checkpoint or an export of any format.  `close` or `with` frees it.

    signature:    what it takes and gives, by name: `signature.inputs`, `signature.outputs`
    latent_scale: what `sample` multiplies latents by, 0 (the mean image) to 1 (as trained)
    warnings:     about what a checkpoint names, on one line each
    files:        the files that it was loaded from
    reading:      how a checkpoint was read; None for an export
    reach:        how far a generator of images sees into its input; None if unknown
    overrides:    options by which another process reads the checkpoint in the same way, without evidence
    opening:      how it was opened; None unless by `open_generator`

    Not thread-safe.  Images are numbered: image i of a seed is the same in every runtime, at any batch size.
    """

    signature: Signature
    session: Session
    latent_scale: float = 1.0
    warnings: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    reading: Match | None = None
    overrides: ReadOptions = field(default_factory=ReadOptions)
    reach: Reach | None = None
    opening: Opening | None = None
    _parts: dict[Any, StyleParts] = field(default_factory=dict, repr=False, compare=False)  # opened when needed

    def __enter__(self) -> Generator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the runtime's memory.  May be called twice."""
        for parts in self._parts.values():
            for part in (parts.mapping, parts.synthesis):
                part.session.close()
        self._parts.clear()
        self.session.close()

    @property
    def info(self) -> SessionInfo:
        """The runtime that runs it, its version, device and number of threads."""
        return self.session.info

    @property
    def classes(self) -> int:
        """The number of labels, 0 for none."""
        return classes_of(self.signature)

    @property
    def image(self) -> tuple[int, int, int]:
        """(C, H, W) of an image.  Raises GanExportError for a generator whose first output is none."""
        return image_of(self.signature)

    def sample(
        self,
        count: int | None = None,
        *,
        seed: int = 0,
        start: int = 0,
        indices: npt.ArrayLike | None = None,
        labels: LabelsOrChoice = "random",
        rng: Rng = "philox",
        psi: npt.ArrayLike | None = None,
        cutoff: int | None = None,
        mix: str = "",
        direction: npt.ArrayLike | None = None,
        by: float = 1.0,
        **ports: npt.ArrayLike,
    ) -> Bytes:
        """Return images start .. start+count-1 of `seed`, or the images `indices`, as uint8 (N, H, W, C).

        Volumes are uint8 (N, D, H, W, C), and signals (N, L, C); `values` gives floats.

        labels: one number, "random", "all" (image i has label i mod classes), or (N,) numbers
        rng:    "numpy": the latent of image i is `RandomState(i).randn`, as in NVlabs' scripts; `seed` has no effect
        ports:  values of other inputs by name, for each image (N, ...) or for all
        Of a style-based generator, a checkpoint or an export by `--split`:
        psi, cutoff: truncation, one value or one for each image (N,), and the number of layers that it changes
        mix:    "4-7:12": layers 4 to 7, counted from 0, take the w of image 0 of seed 12 (by `rng`)
        direction, by: (F,) or (R, F), of which `by` times is added to w
        Raises GanExportError for a seed, index, label or input that the generator doesn't take.
        """
        if all(p.kind == "image" for p in self.signature.inputs) and not ports:
            raise GanExportError(
                f"this generator takes {_names(self.signature)}, no latent; "
                "use gan-sample apply FILE INPUT -o OUT, or Generator.apply"
            )
        which = self._which(count, start, indices, seed)
        styling = Styling.of(psi, cutoff, mix, direction, by, rng=rng, count=len(which))
        parts = self._styled(styling, ports)
        chosen = (parts.mapping if parts else self)._choose(labels, seed, which)
        images = []
        for first in range(0, len(which), BATCH):
            rows = slice(first, first + BATCH)
            here = {name: self._of_rows(name, value, rows) for name, value in ports.items()}
            some, change = None if chosen is None else chosen[rows], styling.of_rows(rows)
            if parts is not None:
                images.append(self._sample_styled(parts, seed, which[rows], some, here, change))
            else:
                images.append(self._sample_batch(seed, which[rows], some, here, change))
        return images[0] if len(images) == 1 else np.concatenate(images)

    def values(
        self,
        count: int | None = None,
        *,
        seed: int = 0,
        start: int = 0,
        indices: npt.ArrayLike | None = None,
        labels: LabelsOrChoice = "random",
        **ports: npt.ArrayLike,
    ) -> Floats:
        """Return what `sample` returns as float32, in the layout and range of `signature.outputs[0]`, before the bytes.

        Of a file that gives bytes, they are the bytes in that range.  Raises GanExportError as `sample` does.
        """
        which = self._which(count, start, indices, seed)
        chosen, port = self._choose(labels, seed, which), self.signature.outputs[0]
        made = []
        for first in range(0, len(which), BATCH):
            rows = slice(first, first + BATCH)
            given = {name: self._of_rows(name, value, rows) for name, value in ports.items()}
            some = None if chosen is None else chosen[rows]
            feeds = self.signature.feeds(seed, which[rows], **{**self.labeled(some), **given})
            for latent in self.signature.inputs_of("latent"):
                if latent.name not in ports:
                    feeds[latent.name] = feeds[latent.name] * np.float32(self.latent_scale)
            made.append(_as_floats(port, self.run(feeds)[port.name]))
        return np.concatenate(made)

    def generate(
        self,
        z: npt.ArrayLike,
        labels: LabelsOrChoice = "all",
        *,
        seed: int = 0,
        start: int = 0,
        **ports: npt.ArrayLike,
    ) -> Floats:
        """Return the images of latents z (N, ...) as float32, in the layout and range of `signature.outputs[0]`.

        z may also be (N, nz, 1, 1).  labels, ports: as of `sample`; what is not given, such as noise, is that of the
        images start .. start+N-1 of `seed`.  Raises GanExportError for a file that gives bytes: use `sample`.
        """
        if self.info.output == "bytes":
            raise GanExportError("this file gives bytes and no floats; export it without output='bytes', or use sample")
        port = next(iter(self.signature.inputs_of("latent", "style")), None)
        if port is None:
            raise GanExportError(f"this generator takes {_names(self.signature)}, no latent; use run or apply")
        values = np.asarray(z)
        if values.ndim == 4 and len(port.shape) == 1 and values.shape[2:] == (1, 1):
            values = values[:, :, 0, 0]
        which = range(start, start + len(values)) if values.ndim else range(0)
        default = isinstance(labels, str) and labels == "all"
        chosen = None if default and not self.classes else self._choose(labels, seed, which)
        given = {port.name: values, **self.labeled(chosen), **ports}
        outputs = self.run(self.signature.feeds(seed, which, **given))
        return outputs[self.signature.outputs[0].name]

    def run(self, feeds: Feeds) -> Outputs:
        """Return every output by name for every input by name, (N, ...), as `signature.feeds` makes them.

        Outputs are as the file gives them: float32, or uint8 (N, H, W, C) of images if it was exported to give bytes.
        """
        return self.session.run(feeds_for(self.session, self.signature, self.signature.check(feeds)))

    def apply(
        self,
        images: Pixels,
        *,
        seed: int = 0,
        start: int = 0,
        pad: bool = True,
        tile: int | None = None,
        tile_overlap: int | None = 16,
        max_memory: int = MAX_MEMORY,
        out: Pixels | None = None,
    ) -> Pixels:
        """Return what an image-to-image generator makes of images (N, H, W, C), uint8 or uint16: (N, H', W', C').

        seed, start:  of other inputs, such as dropout, image start + i for row i
        pad:          pad a size that the generator doesn't take by reflection, and crop the result
        tile:         height and width of the tiles that an image is split into, 0 for as large as `max_memory` allows;
                      None to split only an image that needs more
        tile_overlap: pixels that a tile reads around itself, None for as many as the generator sees
        max_memory:   bytes for an image, its result and what is between them, as estimated
        out:          an array of the results' type and shape to fill and return, such as a `numpy.memmap`; they are
                      written row by row, and don't count for `max_memory`
        Raises GanExportError for a generator that takes no image or can't be tiled, for an image that needs more than
        `max_memory`, and without `pad` for a size that the generator doesn't take.
        """
        from gan_export.sampling.apply import ImageGenerator

        tiling = Tiling(tile, tile_overlap, max_memory)
        takes = ImageGenerator(self.signature, self.session, seed, pad, reach=self.reach, tiling=tiling)
        return takes.apply(images, start, out)

    def start_port(self, user: str) -> Port:
        """Return the input that images start from: the one latent, w or ws.

        Raises GanExportError, which names `user`, for another generator.
        """
        found = next((p for p in self.signature.inputs if p.name in ("w", "ws") and p.kind == "values"), None)
        return found or latent_port(self.signature, user)

    def latents(self, seed: int, indices: npt.ArrayLike | range) -> Floats:
        """Return z of the images `indices` (N,) of `seed`, (N, nz), before `latent_scale`.

        Raises GanExportError for a generator that has not one latent.
        """
        port = latent_port(self.signature, "this command")
        return self.signature.feeds(seed, indices)[port.name]

    def bytes(
        self, z: Floats, labels: Labels | None = None, *, seed: int = 0, indices: npt.ArrayLike | range | None = None
    ) -> Bytes:
        """Return the images of latents (N, nz) as uint8 (N, H, W, C).

        Further inputs are those of the images `indices` of `seed`, 0 to N-1 if not given.
        """
        port = latent_port(self.signature, "this command")
        given: dict[str, Any] = {port.name: z, **self.labeled(labels)}
        return self._run(self.signature.feeds(seed, range(len(z)) if indices is None else indices, **given))

    def _which(self, count: int | None, start: int, indices: npt.ArrayLike | None, seed: int) -> Indices:
        if (count is None) == (indices is None):
            raise GanExportError("count: give the number of images, or their indices, not both")
        if indices is not None:
            return image_indices(indices)
        if count is None or count < 1:
            raise GanExportError(f"count={count}: must be at least 1")
        latents.check(seed, start, count)
        return range(start, start + count)

    def _choose(self, labels: LabelsOrChoice, seed: int, which: Indices) -> Labels | None:
        if labels is None or isinstance(labels, str | int | np.integer):
            return choose_labels(self.signature, "random" if labels is None else labels, seed, which)  # type: ignore[arg-type]
        if not self.classes:
            raise GanExportError("labels: this generator has none; leave them out")
        values = np.asarray(labels)
        if values.shape != (len(which),) or values.dtype.kind not in "iu":
            raise GanExportError(f"labels {values.dtype} {values.shape}: must be whole numbers ({len(which)},)")
        if values.size and not (values.min() >= 0 and values.max() < self.classes):
            raise GanExportError(f"labels {values.min()} to {values.max()}: must be 0 to {self.classes - 1}")
        return values.astype(np.int64)

    def _of_rows(self, name: str, value: npt.ArrayLike, rows: slice) -> npt.ArrayLike:
        """The part of an input's values that these images need: all of it if it is one for all."""
        array = np.asarray(value)
        known = {p.name: len(p.shape) for p in self.signature.inputs}
        return array[rows] if array.ndim > known.get(name, 1) else array

    def _sample_batch(
        self, seed: int, which: Indices, labels: Labels | None, ports: Mapping[str, Any], styling: Styling
    ) -> Bytes:
        names, ports = self.signature.names()[0], dict(ports)
        if styling.psi is not None:
            ports["psi"] = styling.psi
        if "w" in names and "w" not in ports:
            raise GanExportError("this generator starts from w; give it by w= (--latents FILE)")
        if name := next(iter(ports.keys() & {"w", "ws"}), None):
            wide = self.signature.input(name).dims({})
            ports[name] = styling.moved(np.array(np.broadcast_to(ports[name], (len(which), *wide)), np.float32))
        elif styling.rng == "numpy" and not ports.keys() & {p.name for p in self.signature.inputs_of("latent")}:
            ports[latent_port(self.signature, "rng numpy").name] = self._numpy_latents(which, self.latent_scale)
        as_trained = not ports and self.latent_scale == 1.0
        if as_trained and isinstance(which, range) and isinstance(self.session, SamplesFromSeed):
            made = self.session.draw_bytes(seed, which.start, len(which), labels)
            return self._first({self.signature.outputs[0].name: made}, len(which))
        feeds = self.signature.feeds(seed, which, **{**self.labeled(labels), **ports})
        if self.latent_scale != 1.0:
            for port in self.signature.inputs_of("latent"):
                if port.name not in ports:
                    feeds[port.name] = feeds[port.name] * np.float32(self.latent_scale)
        return self._run(feeds)

    def _sample_styled(  # noqa: PLR0917
        self,
        parts: StyleParts,
        seed: int,
        which: Indices,
        labels: Labels | None,
        ports: dict[str, Any],
        styling: Styling,
    ) -> Bytes:
        """The images of ws, given or by the mapping, which `styling` changes."""
        z, ws = ports.pop("z", None), ports.pop("ws", None)
        if ws is not None:
            ws = parts.changed(np.broadcast_to(np.asarray(ws, np.float32), (len(which), *parts.shape)), labels, styling)
        else:
            if z is None and styling.rng == "numpy":
                z = parts.mapping._numpy_latents(which, self.latent_scale)
            elif z is None:
                z = parts.mapping.latents(seed, which) * np.float32(self.latent_scale)
            flat = np.asarray(z, np.float32)
            ws = parts.ws(np.broadcast_to(flat, (len(which), flat.shape[-1])), labels, styling)
        return parts.synthesis._run(parts.synthesis.signature.feeds(seed, which, ws=ws, **ports))

    def _styled(self, styling: Styling, ports: Mapping[str, Any]) -> StyleParts | None:
        """The two parts if the images can't be made without them."""
        names, given = self.signature.names()[0], ports.keys() & {"w", "ws"}
        if given and (styling.psi is not None and "psi" not in names):
            raise GanExportError(f"psi: {min(given)} is given and used as it is; leave psi out")
        folded = styling.psi is not None and ("psi" not in names or styling.cutoff is not None)
        needs_ws = styles.starts_from_ws(self.signature) and "ws" not in ports
        if styling.mix or folded or needs_ws or (styling.direction is not None and not given):
            return self.parts(psi=styling.psi is not None, cutoff=styling.cutoff)
        if styling.cutoff is not None:
            raise GanExportError("cutoff goes with psi")
        return None

    def parts(self, *, psi: bool | None = None, cutoff: int | None = None) -> StyleParts:
        """Return the mapping and the synthesis of a style-based generator, loaded once; `close` frees them.

        psi: whether the mapping takes psi as an input; None for the parts that are loaded
        Raises GanExportError for another generator, or an export of one file.
        """
        if psi is None and self._parts:
            return next(iter(self._parts.values()))
        key = (bool(psi), cutoff)
        if key not in self._parts:
            self._parts[key] = styles.open_parts(self, psi=bool(psi), cutoff=cutoff)
        return self._parts[key]

    def _numpy_latents(self, which: Indices, scale: float) -> Floats:
        port = latent_port(self.signature, "rng numpy")
        if not isinstance(port.prior, Normal):
            raise GanExportError("rng numpy: its latents are normal, and this generator takes others")
        return latents_of([int(i) for i in which], int(port.shape[0])) * np.float32(scale)

    def labeled(self, labels: Labels | None) -> dict[str, Any]:
        """Return the label input by name for labels (N,); empty without labels."""
        port = label_port(self.signature)
        return {} if port is None or labels is None else {port.name: _as_port(port, labels)}

    def _run(self, feeds: Feeds) -> Bytes:
        count = len(next(iter(feeds.values())))
        return self._first(self.session.run(self.signature.check(feeds)), count)

    def _first(self, outputs: Outputs, count: int) -> Bytes:
        """The first output as bytes, of the shape that the file states."""
        if not self.signature.outputs[0].layout:
            self.image  # noqa: B018  which says that it is no image
        as_bytes = self.signature.to_bytes(outputs)
        check_outputs(as_bytes, count, self.signature.as_bytes(), {})
        return as_bytes[self.signature.outputs[0].name]


def choose_labels(
    signature: Signature, label: Label, seed: int, indices: npt.NDArray[np.uint64] | range
) -> Labels | None:
    """Return labels (N,) of the images `indices`: one for all, `i mod classes`, or random by the law.

    None for a generator without classes.
    """
    classes = classes_of(signature)
    if not classes:
        if label != "random":
            raise GanExportError("this generator has no labels; leave labels= out")
        return None
    if isinstance(indices, range):
        latents.check(seed, indices.start, len(indices))
        indices = np.uint64(indices.start) + np.arange(len(indices), dtype=np.uint64)
    if label == "random":
        return latents.labels_at(seed, indices, classes)
    if label == "all":
        return latents.labels_in_turn(indices, classes)
    if not 0 <= label < classes:
        raise GanExportError(f"labels={label}: must be 0 to {classes - 1}, or all")
    return np.full(len(indices), label, np.int64)


def _as_floats(port: Port, made: npt.NDArray[Any]) -> Floats:
    """Return values as floats in the layout and range of a port; bytes are uint8 with channels last."""
    if made.dtype != np.uint8:
        return made.astype(np.float32, copy=False)
    low, high = port.range or (-1.0, 1.0)
    step = np.float32((high - low) / 255.0)
    return np.moveaxis(made, -1, 1 + port.axis("C")).astype(np.float32) * step + np.float32(low)


def _names(signature: Signature) -> str:
    return ", ".join(p.name for p in signature.inputs)


def _as_port(port: Port, labels: Labels) -> npt.NDArray[Any]:
    """Labels (N,) as the port takes them: themselves, or a row with a single 1 for each."""
    return labels if not port.shape else np.eye(port.classes, dtype=np.float32)[labels]
