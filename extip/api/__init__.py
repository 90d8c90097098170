"""The nouns: wire types and names; pure data."""
