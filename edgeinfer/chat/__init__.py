"""Turns messages into a prompt, and an answer's text into events. Templates run in a process of their own."""
