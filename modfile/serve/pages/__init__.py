"""What the server shows to people: a list of the artifacts, and a page for each; HTML without scripts."""
