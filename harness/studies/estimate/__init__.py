"""How near each adapter's estimate comes to the test prior."""
