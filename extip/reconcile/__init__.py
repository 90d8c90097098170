"""Level-triggered loops: observe, plan, apply."""
