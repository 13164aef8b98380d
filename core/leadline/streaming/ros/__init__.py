"""ROS message layouts and bags, without ROS."""
