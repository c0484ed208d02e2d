"""The rules: what a traced call to a module, function or method is, as operators of ours. A family a file."""
