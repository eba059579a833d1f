"""Workers: skills, their executors, and the links that take tasks and send results."""
