"""All that the two planes agree on: resource types, the provider registry, the routing table and its wire."""
