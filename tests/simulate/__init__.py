"""Many nodes and one market, simulated: what the claim window costs and saves."""
