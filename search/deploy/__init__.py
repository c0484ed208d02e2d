"""From a decided Space to what runs elsewhere: lower to integers, verify, export."""
