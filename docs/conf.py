"""Sphinx settings: text notebooks are executed when the pages are built."""

from __future__ import annotations

from importlib.metadata import version as version_of

project = "betascvi"
author = "betascvi developers"
release = version = version_of("betascvi")
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_autodoc_typehints",
    "sphinxcontrib.bibtex",
]
bibtex_bibfiles = ["references.bib"]
html_theme = "furo"
exclude_patterns = ["_build", "figures", "jupyter_execute", "**/.ipynb_checkpoints"]
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath", "colon_fence"]
nb_execution_mode = "auto"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True
autosummary_generate = True
autodoc_member_order = "bysource"
napoleon_google_docstring = False
always_use_bars_union = True
suppress_warnings = [
    # public classes live in private modules and are documented under their public name
    "sphinx_autodoc_typehints",
    "ref.ref",
    # shapes in annotations ("cells axes") read as names that several records have
    "ref.python",
    "ref.term",
    "ref.doc",
]
