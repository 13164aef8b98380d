"""One table of how far results in each precision may lie from float32, relative to the map's range.

Measured on random networks (steeper than trained ones, four seeds each): fp16 0.02-0.16 % on average and 1.6 % at the worst pixel;
bf16 0.13-1.2 % and 13 %.
"""

MEAN_OF_RANGE = {"fp32": 1e-4, "fp16": 4e-3, "bf16": 2e-2}
WORST_OF_RANGE = {"fp32": 1e-3, "fp16": 4e-2, "bf16": 2e-1}

#: Absolute, against the official implementations in float32 (latents, log depth, final depth).
OFFICIAL = 1e-4
#: Absolute, for the Fourier Enhancement block alone with torch's CPU transform.
OFFICIAL_FOURIER = 1e-5
#: Unit vectors of nearly opposite channels are divided by small numbers.
OFFICIAL_NORMALS = 2e-4
