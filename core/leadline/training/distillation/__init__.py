"""The knowledge of a large model in a small one, on your own pictures: :func:`leadline.training.distillation.distil.distil`."""
