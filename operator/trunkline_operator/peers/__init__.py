"""Several operators: which of them writes statuses, and what the others tell it of their gateways."""
