"""From an alert to a cause and proposals."""
