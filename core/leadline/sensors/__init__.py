"""Cameras, LiDAR, sparse depth and the transforms between them."""
