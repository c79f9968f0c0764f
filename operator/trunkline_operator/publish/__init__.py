"""The table out: one stream per gateway, differences only."""
