"""Backs up what a daemon cannot make again, and restores it on this machine or on another."""
