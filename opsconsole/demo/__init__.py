"""The demo estate: workflows written for it, the people, and a history made through the real services."""
