"""The wire: IBM-compatible REST, IAM, resource search, and Ketline's own endpoints."""
