"""Pure decisions over plain data: no await, no clock, no log, no I/O.

The same input gives the same plan.
"""
