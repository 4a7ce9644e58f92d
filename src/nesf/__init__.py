"""Neural structure fields: the codec for crystals."""
