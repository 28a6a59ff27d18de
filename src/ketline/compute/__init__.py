"""How classical work runs: processes forked from a warm parent, limited, and replaced when they fail."""
