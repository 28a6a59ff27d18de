"""What comes over the wire, opened without trust: nothing is imported, unpickled or believed."""
