"""To look at: pictures and pages."""
