"""ROS message layouts, without ROS."""
