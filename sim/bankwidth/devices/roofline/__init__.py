"""What a chip of which only a roofline is known makes of its work."""
