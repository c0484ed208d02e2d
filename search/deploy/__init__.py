"""From a decided Space to what runs elsewhere: it is lowered to integers, verified and exported."""
