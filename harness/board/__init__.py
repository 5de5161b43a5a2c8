"""The leaderboard: entries from rows, its JSON, its tables, its exports."""
