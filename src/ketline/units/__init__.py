"""The small types of a unit of work that programs and QPUs share."""
