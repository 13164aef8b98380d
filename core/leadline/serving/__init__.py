"""The inference server and its client, over ZeroMQ.

``wire``, ``pixels``, ``shared``, ``client`` and ``local`` need pyzmq, NumPy and the standard library, nothing else: they
run in Blender's Python.
"""
