"""The picture at the top of the README: python assets/make_readme_picture.py OUT.jpg SIDE.png SIDE.png

The pictures are what `leadline predict PHOTO --quality fine --size 384 --side-by-side` writes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT_PX = 360


def main(out: Path, pictures: list[Path]) -> None:
    """One row of the pictures, all of one height."""
    row = []
    for path in pictures:
        with Image.open(path) as picture:
            whole = picture.convert("RGB")
        row.append(np.asarray(whole.resize((round(whole.width * HEIGHT_PX / whole.height), HEIGHT_PX))))
    Image.fromarray(np.hstack(row)).save(out, quality=86)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
