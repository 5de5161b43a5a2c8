"""Which labels, which images."""

from shifts.common.environment import settle

settle()
