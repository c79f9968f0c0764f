"""From a name to an answer: the table as gateways serve it, resolution, the plan, health, and the attempt loop."""
