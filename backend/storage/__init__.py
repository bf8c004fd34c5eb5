"""Connection, tables, migrations, SQL functions and run rows."""
