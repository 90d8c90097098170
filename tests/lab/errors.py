"""What the lab raises: its own fault or the machine's, never the tested program's."""


class LabError(Exception):
    """The lab could not do what it was asked; the text names the step and shows its output."""
