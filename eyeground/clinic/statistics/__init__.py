"""What happened in a service, in numbers: waits, doctors and models, images that cannot be graded, drift."""
