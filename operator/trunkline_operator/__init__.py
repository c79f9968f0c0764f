"""The control plane: watch resources, compile them, publish the table, report what the gateways say."""
