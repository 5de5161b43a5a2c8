"""From folders, archives and tables, as people have them, to labelled splits."""
