"""Settling: the follower is made to agree with the authority, id by id."""
