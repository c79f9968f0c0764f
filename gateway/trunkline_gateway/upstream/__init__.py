"""The providers' side: the HTTP client behind one small interface, and the built-in provider `echo`."""
