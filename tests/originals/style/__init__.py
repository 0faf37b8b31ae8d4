"""StyleGAN2 and 3, R3GAN, BigGAN, FastGAN, lightweight-gan and ProGAN, restated, and the files of their scripts.

`tests/recognize/test_style.py` holds every family of STYLE_FAMILIES to its restatement.
"""

STYLE_FAMILIES = (
    "stylegan2", "stylegan2_rosinality", "stylegan2_lucidrains", "stylegan3", "stylegan_xl", "r3gan", "biggan",
    "biggan_huggingface", "fastgan", "lightweight_gan", "progan", "progan_akanimax", "progan_rosinality",
)  # fmt: skip
