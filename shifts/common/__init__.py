"""What every package needs: errors, atomic files, how a command reads its line."""
