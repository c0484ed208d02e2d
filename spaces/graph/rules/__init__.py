"""The rules: which operators a traced call to a module, function or method becomes. Each family has a file."""
