"""A user's model on unlabelled images: which adapter, the answers, the shares behind them, whether to trust them."""
