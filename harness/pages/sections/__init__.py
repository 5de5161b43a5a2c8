"""The report's sections on leaderboard rows and on label sets, one file each."""
