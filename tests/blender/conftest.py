"""What lies in `inside/` runs in Blender's Python, started by test_extension.py."""

collect_ignore = ["inside"]
