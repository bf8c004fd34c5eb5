"""Sphinx configuration. The pages load no script and no font from elsewhere."""

from importlib.metadata import version as installed_version

project = "BlockHF"
author = "The BlockHF developers"
copyright = "The BlockHF developers, MIT license"  # noqa: A001 - Sphinx's name
version = release = installed_version("blockhf")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"BlockHF {release}"
html_favicon = "../dashboard/static/icon.png"
html_copy_source = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "separated"
autodoc_default_options = {"members": True, "exclude-members": "__init__, __new__"}
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Source", "notes_style")]
napoleon_use_ivar = True
# Types of torch and pydantic have no page here, so a missing reference is no error.
nitpicky = False
