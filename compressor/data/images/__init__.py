"""Images: folders and the embedded digits, their decoded store, and augmented views."""
