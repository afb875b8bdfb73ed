"""Model hubs: listing and downloading what one has, and being one for other machines."""
