"""`nodetell top`: nodes and findings as a live view. Only app.py and what it imports from here on need textual."""
