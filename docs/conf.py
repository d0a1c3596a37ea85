"""How the pages are rendered: ``sphinx-build -W docs site`` (extra ``[docs]``)."""

import tomllib
from pathlib import Path

from batch import __version__

_PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]

project = _PROJECT["name"]
release = version = __version__
copyright = "the authors of diarist"
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"diarist {release}"
myst_enable_extensions = ["attrs_inline"]
myst_heading_anchors = 4
root_doc = "index"
suppress_warnings = ["misc.highlighting_failure"]
linkcheck_anchors = False
