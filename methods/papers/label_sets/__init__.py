"""One file a paper of label sets."""
