"""The full-screen front: it draws the last Fleet it was given and turns keys into intents."""
