"""One file a section of the report that is no study's."""
