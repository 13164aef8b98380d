"""What comes from disk and goes to it: images, maps, points, calibrations."""
