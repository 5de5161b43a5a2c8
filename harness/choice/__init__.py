"""Which method for whom: entrants, pairs, bootstrap, the answer in words."""
