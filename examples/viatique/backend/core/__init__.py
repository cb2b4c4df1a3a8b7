"""What belongs to no school subject: health and the heartbeat of background work."""
