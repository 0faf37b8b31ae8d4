"""The ProGAN of facebookresearch/pytorch_GAN_zoo: `formatLayer`, `groupScale0.0`, `scaleLayers.{s}.{i}`, `toRGBLayers`.

Its files have `netG`, `avgG` and `config`, which says how far the last stage has faded in, and with which loss it was
trained: two of them put a tanh at the end.
"""

from __future__ import annotations

from gan_export.errors import GanExportError, printable
from gan_export.graph.layers import Activation, Add, Concat
from gan_export.recognize.builder import SpecBuilder
from gan_export.recognize.draft import Family
from gan_export.recognize.nvlabs import number
from gan_export.recognize.options import Assumption
from gan_export.recognize.progressive import (
    Layer,
    agree,
    conv,
    enlarged,
    equalized,
    layer,
    leaky,
    leave_out,
    linear,
    pixel_norm,
)
from gan_export.recognize.state_dict import DoesNotFitError

SLOPE = 0.2
_TANH = {"WGANGP": False, "Logistic": False, "MSE": True, "DCGAN": True}  # by the loss


def _build(draft: SpecBuilder) -> None:
    first, middle = layer(draft, "formatLayer", 2), layer(draft, "groupScale0.0", 4)
    scales = len(draft.numbered("scaleLayers.#.0"))
    converters = [layer(draft, f"toRGBLayers.{i}", 4) for i in range(scales + 1)]
    width, config = middle.shape[0], draft.state.config
    if first.shape[0] != 16 * width:
        raise DoesNotFitError(f"formatLayer gives {first.shape[0]} values, not 4x4 with {width} channels")
    channels = converters[-1].shape[0]
    agree(draft, latentVectorDim=first.shape[1], depthScale0=width, dimOutput=channels, depthOtherScales=scales)
    scaled = config.get("equalizedlR", True)
    slope, alpha = number(config, "its config", "leakyReluLeak", SLOPE), number(config, "its config", "alpha", 0.0)
    if not isinstance(scaled, bool) or not 0 <= slope <= 1 or not 0 <= alpha <= 1:
        raise GanExportError("its config has an equalizedlR, leakyReluLeak or alpha that its code doesn't take")
    if not config:
        draft.assumed.append(Assumption("the last stage", "has faded in, and each layer has an equalized rate", ""))

    def with_gain(read: Layer) -> Layer:
        return equalized(read, on=scaled, bias=True)

    def convolved(name: str, read: Layer) -> None:
        conv(draft, name, with_gain(read))
        leaky(draft, name, slope)
        pixel_norm(draft, name)

    _latent(draft, first.shape[1])
    pixel_norm(draft, "z")
    linear(draft, "fc", with_gain(first))
    leaky(draft, "fc", slope)
    draft.reshape("grid", (width, 4, 4))
    pixel_norm(draft, "grid")
    convolved("conv0", middle)
    before = draft.last
    for s in range(scales):
        before = draft.last
        enlarged(draft, f"up{s}")
        for i in range(2):
            convolved(f"conv{s + 1}_{i}", layer(draft, f"scaleLayers.{s}.{i}", 4))
    image = conv(draft, "to_image", with_gain(converters[-1]).scaled(1 - alpha))
    if alpha:
        smaller = conv(draft, "to_smaller", with_gain(converters[-2]).scaled(alpha), (before,))
        wide = enlarged(draft, "smaller_up", x=smaller)
        draft.add(Add, "blended", inputs=(image, wide))
        draft.notes.append(f"its last stage has not faded in: {alpha:g} of the image is the stage before")
    leave_out(draft, (f"toRGBLayers.{i}" for i in range(scales)))
    _output(draft)


def _latent(draft: SpecBuilder, width: int) -> None:
    """Take z, which ends in the label as one-hot if there is one."""
    classes = draft.state.config.get("categoryVectorDim", 0)
    if not classes:
        draft.latent(width)
        return
    if not isinstance(classes, int) or isinstance(classes, bool) or not 1 < classes < width:
        raise GanExportError(f"its config says categoryVectorDim {printable(str(classes), 40)}: not read")
    if (many := draft.state.config.get("attribKeysOrder", 1)) != 1:
        raise GanExportError(f"its latents end in {printable(str(many), 40)} labels; a generator with one is read")
    label = draft.label_beside(width - classes, classes)
    draft.add(Concat, "joined", inputs=("z", label))


def _output(draft: SpecBuilder) -> None:
    loss = draft.state.config.get("lossCriterion")
    if loss is None:
        draft.output()
    elif loss not in _TANH:
        raise GanExportError(f"its config says lossCriterion {printable(str(loss), 40)}, which its code doesn't have")
    elif _TANH[str(loss)]:
        draft.add(Activation, "tanh", kind="tanh")
        draft.range = (-1.0, 1.0)


FAMILY = Family("progan", "facebookresearch/pytorch_GAN_zoo's ProGAN", _build, output="none", other_outputs=("tanh",))
