"""What is asked of models under test-time label shift, and what came out."""
