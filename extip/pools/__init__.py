"""Addresses from IpClaimPools for services that ask for one."""
