"""The demo: a whole migration on local servers, and the application that writes meanwhile."""
