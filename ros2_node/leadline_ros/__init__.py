"""The ROS 2 node of Leadline: messages in, `leadline.streaming` in the middle, messages out."""
