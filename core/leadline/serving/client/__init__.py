"""What a client needs: NumPy and pyzmq, no torch."""
