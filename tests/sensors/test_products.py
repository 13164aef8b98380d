import numpy as np
import pytest

from leadline.sensors.products import product
from leadline.sensors.tuned import PRODUCT


@pytest.mark.parametrize("columns", [0, 1, PRODUCT.multiplications // 9, PRODUCT.multiplications // 9 + 1, 60_000])
def test_block_by_block_is_the_whole_product(columns):
    rng = np.random.default_rng(0)
    motion = rng.normal(size=(4, 4)).astype(np.float32)
    points = rng.normal(size=(3, columns)).astype(np.float32)
    found = product(motion[:3, :3], points)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, motion[:3, :3].astype(np.float64) @ points, atol=2e-6)
    points[:, columns // 2 :] = np.nan
    np.testing.assert_array_equal(np.isnan(product(motion[:3, :3], points)), np.isnan(points))
