"""Frames in order."""
