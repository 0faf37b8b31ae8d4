"""The test matrix: the formats to which the tests export each family and verify it.

The tests take their parameters from here, and so does the documentation's table of families.
"""

from __future__ import annotations

CORE = ("onnx", "torchscript", "pt2", "openvino")
STYLE = {
    **dict.fromkeys(("stylegan2", "r3gan", "biggan", "fastgan"), (*CORE, "safetensors", "native")),
    "stylegan2_rosinality": ("onnx", "native"),  # the same layers as stylegan2's
    "lightweight_gan": (*CORE, "safetensors"),
    **dict.fromkeys(("stylegan2_lucidrains", "progan"), (*CORE, "safetensors", "native")),
    **dict.fromkeys(("progan_akanimax", "progan_rosinality"), ("onnx", "openvino", "native")),
    "biggan_huggingface": ("onnx",),  # the same layers as biggan's
    **dict.fromkeys(("stylegan3", "stylegan_xl"), ("onnx", "openvino")),
}
IMAGES_IN = dict.fromkeys(("junyanz_resnet", "junyanz_unet", "rrdb", "srvgg", "srresnet"), (*CORE, "native"))
VOLUMES = dict.fromkeys(("gan3d", "wavegan"), (*CORE, "safetensors", "ncnn"))
ONCE = dict.fromkeys(("gfpgan", "cogan", "torchgan_began", "studiogan_resnet"), ("onnx",))
IN_ALL = {"dcgan": (*CORE, "native", "c", "safetensors", "aoti", "ncnn", "litert", "executorch")}
BY_THE_ENGINE = dict.fromkeys(
    (
        "numbered", "wassersteingan", "gan_zoo", "coursera", "torchgan", "blocks", "projected", "udacity", "studiogan",
        "znxlwm", "caogang", "resize_conv", "mimicry", "gan_collections", "mlp", "clustergan", "vegans", "residual",
        "sequence", "chain",
    ),
    ("native",),
)  # fmt: skip

EXPORTED: dict[str, tuple[str, ...]] = {**STYLE, **IMAGES_IN, **VOLUMES, **ONCE, **IN_ALL, **BY_THE_ENGINE}
