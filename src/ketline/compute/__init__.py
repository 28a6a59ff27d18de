"""How classical work runs: worker processes with limits of time and memory."""
