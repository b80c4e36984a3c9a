"""What weight files say of themselves in their headers: how many parameters, in which precision, in which format."""
