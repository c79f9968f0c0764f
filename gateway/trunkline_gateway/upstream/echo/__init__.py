"""The built-in provider `echo`: an OpenAI-compatible upstream inside the gateway, the same answer every time."""
