"""One table of how far results in each precision may lie from float32, relative to the map's range."""

RELATIVE_TO_RANGE = {"fp32": 1e-4, "fp16": 2e-2, "bf16": 1e-1}

#: Absolute, against the official implementations in float32 (latents, log depth, final depth).
OFFICIAL = 1e-4
#: Absolute, for the Fourier Enhancement block alone with torch's CPU transform.
OFFICIAL_FOURIER = 1e-5
