"""What must survive: tables, queries, migrations, payload files."""
