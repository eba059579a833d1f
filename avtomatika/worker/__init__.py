"""The worker: skills, what runs them, and the links by which tasks come and results go."""
