"""How a database of an older Ketline becomes one of this version."""
