"""Files and object stores, and the audio in them."""
