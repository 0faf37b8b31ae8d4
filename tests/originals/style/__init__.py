"""StyleGAN2, R3GAN, BigGAN and FastGAN, restated from what their code computes, and the files that their scripts write.

`tests/recognize/test_style.py` holds every family of STYLE_FAMILIES to its restatement.
"""

STYLE_FAMILIES = ("stylegan2", "stylegan2_rosinality", "r3gan", "biggan", "fastgan")
