"""Getting and checking the data sets: the table of sources, download, unpack, prepare. Training imports none of it."""
