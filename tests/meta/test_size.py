"""Files stay small enough to be read."""

from pathlib import Path

import extip

MOST_LINES = 400


def test_no_file_of_the_program_is_longer_than_can_be_read_in_one_go():
    root = Path(extip.__file__).parent
    lines = {str(p.relative_to(root)): p.read_text().count("\n") for p in root.rglob("*.py")}
    assert lines
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}
