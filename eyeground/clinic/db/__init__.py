"""What must survive: tables, transactions, leases, migrations."""
