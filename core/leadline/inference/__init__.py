"""From image to DepthPrediction: framing, views, devices, memory, compilation."""
