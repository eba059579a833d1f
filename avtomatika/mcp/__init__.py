"""A server of the Model Context Protocol: blueprints, skills and jobs as tools for agents, over the HTTP API."""
