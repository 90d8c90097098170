"""The page of `extip scheduler --ui`: where each IP is, and how it got there, as it happens."""
