"""Leases of delivered messages: :mod:`.lease_renewal` renews ours, :mod:`.maintenance` reclaims expired ones."""
