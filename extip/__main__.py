"""`python -m extip`, and the `extip` command."""

from extip.cli import main

if __name__ == "__main__":
    main()
