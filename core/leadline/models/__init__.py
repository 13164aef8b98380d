"""The three models, latent in, latent out, and the codec between latents and pixels."""

from leadline.models.base import DepthModel
from leadline.models.codec import Codec
from leadline.models.depthfm import DepthFM
from leadline.models.depthmaster import DepthMaster
from leadline.models.fiffdepth import FiffDepth
from leadline.models.spec import ModelSpec

FAMILIES: dict[str, type[DepthModel]] = {model.family: model for model in (DepthFM, DepthMaster, FiffDepth)}

__all__ = ["FAMILIES", "Codec", "DepthFM", "DepthMaster", "DepthModel", "FiffDepth", "ModelSpec"]
