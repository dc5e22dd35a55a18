"""FA AI: a small, honest financial assistant over fictional companies. The application that metamon is shown with."""
