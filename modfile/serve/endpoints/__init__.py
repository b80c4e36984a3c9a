"""The endpoints of the distribution specification, one module for each noun in their paths."""
