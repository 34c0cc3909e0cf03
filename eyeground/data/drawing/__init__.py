"""What draws a phantom: the eye, its vessels, its diseases and the camera that looks at it."""
