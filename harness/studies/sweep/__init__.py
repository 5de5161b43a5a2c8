"""PRL's preferences over the simplex, with controls that need no hypernetwork."""
