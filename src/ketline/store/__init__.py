"""What must survive: tables, queries, migrations and payload files."""
