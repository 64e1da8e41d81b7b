"""The front door and the compression engine; importing it loads no framework."""
