"""Studies: what is asked of finished models beyond one row a shift, such as every preference or every threshold."""
