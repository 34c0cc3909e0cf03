"""Retinal images, from unlabelled photographs and OCT scans to a signed screening report."""
