"""Sphinx makes the site of these pages: `make docs`."""

import extip

project = "extip"
project_copyright = "the authors of extip"
version = release = extip.__version__

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"extip {release}"
html_copy_source = html_show_sourcelink = False
