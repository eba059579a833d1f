"""Everything that crosses a border: messages on the wire, bodies of the HTTP API."""
