"""Names of images, as container runtimes take them."""

import re

_HOST = r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::\d+)?"
_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:{_HOST}/)?{_PART}(?:/{_PART})*(?::\w[\w.-]{{0,127}})?(?:@[a-z0-9]+:[0-9a-f]+)?", re.ASCII
)


def parse_image(text: str) -> str:
    """Return the name of an image, or nothing as it is; raises ValueError."""
    if text and not _IMAGE.fullmatch(text):
        raise ValueError(
            f"{text!r} cannot be the name of an image: write it like registry.example/extip:1.0, "
            "in lower case and without https://"
        )
    return text
