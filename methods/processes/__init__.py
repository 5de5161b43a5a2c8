"""Several processes: ranks and graphs, worker pools."""
