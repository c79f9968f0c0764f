"""HTTP/1.1 to providers: sans-I/O parsing, connections, pools, dialling. RFC 9112."""
