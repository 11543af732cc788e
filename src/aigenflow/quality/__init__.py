"""What can be checked about a document without an AI and without a network."""
