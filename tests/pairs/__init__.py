"""Any pair of databases: a small collection with every kind of value is moved from each to each, and compared twice."""
