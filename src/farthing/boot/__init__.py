"""What `farthing run` has every Python process of a program do at its start: see `sitecustomize`."""
