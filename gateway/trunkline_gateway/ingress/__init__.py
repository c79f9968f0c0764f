"""The clients' side: front door, authentication, the envelope of a request, and the one request handler."""
