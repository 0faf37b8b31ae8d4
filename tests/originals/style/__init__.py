"""StyleGAN2 and 3, R3GAN, BigGAN, FastGAN and lightweight-gan, restated, and the files of their scripts.

`tests/recognize/test_style.py` holds every family of STYLE_FAMILIES to its restatement.
"""

STYLE_FAMILIES = (
    "stylegan2", "stylegan2_rosinality", "stylegan3", "r3gan", "biggan", "biggan_huggingface", "fastgan",
    "lightweight_gan",
)  # fmt: skip
