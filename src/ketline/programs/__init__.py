"""What a job computes: the primitives, their wire formats and mitigation."""
