"""Who uses the platform: teachers and pupils."""
