SELECT id, tenant, channels, live, head, members, displaced FROM lanes
