"""Pure decisions over plain data: no await, no clock, no log, no I/O; the same input, the same plan."""
