"""Networks that several systems share."""
