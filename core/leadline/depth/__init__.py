"""What a depth map is: value spaces, predictions, alignment."""
