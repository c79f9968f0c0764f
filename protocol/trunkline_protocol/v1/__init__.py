"""The wire between the planes, version 1: ``routing.proto`` and its generated stubs."""
