"""The README's picture: each demo photograph, its depth and its uncertainty, side by side.

Usage: python assets/make_readme_picture.py [MODEL]
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

import leadline
from leadline.files.image import read_image
from leadline.files.output import uncertainty_preview
from leadline.files.pictures import depth_picture as preview
from leadline.files.whole import write_bytes

ASSETS = Path(__file__).parent
SIZE = (480, 320)


def main() -> None:
    """Predict, compose, write docs/images/readme.jpg."""
    model = leadline.load(sys.argv[1] if len(sys.argv) > 1 else "fiffdepth-mini")
    rows = []
    for path in sorted((ASSETS / "demo").glob("*.jpg"), reverse=True):
        image = read_image(path)
        prediction = model.predict(image, ensemble=4)
        assert prediction.uncertainty is not None
        pictures = (image, preview(prediction), uncertainty_preview(prediction.uncertainty))
        rows.append(np.hstack([cv2.resize(picture, SIZE, interpolation=cv2.INTER_AREA) for picture in pictures]))
    _, encoded = cv2.imencode(".jpg", np.ascontiguousarray(np.vstack(rows)[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 88])
    write_bytes(ASSETS.parent / "docs" / "images" / "readme.jpg", encoded.tobytes())


if __name__ == "__main__":
    main()
