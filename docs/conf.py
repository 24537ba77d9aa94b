"""How `make docs` makes a site of these pages; it works without a network."""

from importlib.metadata import version as version_of

project = "asynchy"
version = release = version_of("asynchy")
extensions = ["myst_parser"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
smartquotes = False  # an option is --execute, with two hyphens
html_theme = "furo"
html_title = f"asynchy {version}"
html_show_sourcelink = False
html_copy_source = False
html_show_copyright = False
