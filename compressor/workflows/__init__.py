"""What each command does, one verb a module, each readable top to bottom."""
