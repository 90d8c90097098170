"""`python -m extip`, and the `extip` command."""

import gc


def main() -> None:
    """Run the `extip` command and exit.

    Importing makes no garbage. Looking for some among what was imported, then and once more at the
    exit, would take a fifth of the time that a person waits for ``--help``.
    """
    gc.disable()
    from extip.cli import main as run  # noqa: PLC0415

    gc.freeze()
    gc.enable()
    run()


if __name__ == "__main__":
    main()
