"""Other published methods, rebuilt, to be judged by the same metrics as our own."""
