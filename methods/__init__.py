"""How an expert model is made."""

from shifts.common.environment import settle

settle()
