"""The Meter, the default one, and where settings come from."""
