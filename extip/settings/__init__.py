"""The settings of each mode, checked at their creation; units are in the names.

Each field is a flag, and its only declaration. The command line makes the settings. Modes take them
apart and hand plain values to components.
"""
