"""What a screen is made of, one file a widget; each draws lines from the frame it was shown."""
