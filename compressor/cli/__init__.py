"""The commands. Thin: arguments in, a call to a lower floor, a table or one JSON document out."""
