"""Keeps an address on a node until its next holder has it up (make before break)."""
