"""What must hold of every history: one catalogue, and who checks it when."""
