"""The decisions of a soak: what is to happen, and what to make of that which did."""
