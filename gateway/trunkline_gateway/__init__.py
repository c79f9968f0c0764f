"""The data plane: one endpoint that speaks the clients' dialects, to any provider behind."""
