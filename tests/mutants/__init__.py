"""Small, dangerous changes to extip, each of which some test must catch (`make mutants`)."""
