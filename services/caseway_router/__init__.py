"""The router owns every case: phases, tasks, leases, gates and effects."""
