"""Live and recorded streams of frames, without ROS: message layouts, synchronisation, transforms, pipeline.

The ROS 2 node and ``leadline bag`` are thin adapters around this package.
"""
