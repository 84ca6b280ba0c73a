"""How the pages are built: ``python -m sphinx -W -b html docs docs/_build``."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "miripool"
author = "The miripool developers"
copyright = author  # noqa: A001
version = release = version_of("miripool")

extensions = [
    "miripool_reference",
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build"]
nitpicky = False

html_theme = "pydata_sphinx_theme"
html_title = "miripool"
html_theme_options = {"navigation_with_keys": False, "show_prev_next": True}

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
autosummary_generate = True
default_role = "py:obj"  # names in single backquotes of docstrings
autodoc_typehints = "none"  # numpydoc's sections tell the types
numpydoc_show_class_members = False
intersphinx_mapping = {}  # no address is asked while the pages are built
